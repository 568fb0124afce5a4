"""What is kept of how an image came to be: one flat row for tables, one document for people."""
