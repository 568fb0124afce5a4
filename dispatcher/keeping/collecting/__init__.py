"""What lies in the store: counted, judged, removed."""
