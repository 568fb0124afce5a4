"""From a user's wish to chunks, and from manifests back to images that can be found. No torch."""
