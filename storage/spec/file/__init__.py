"""From the file that a user writes to a frozen spec: read, checked key by key, filled in."""
