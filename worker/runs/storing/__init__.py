"""Pictures on their way into the store, on the upload threads."""
