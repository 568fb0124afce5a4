"""What becomes of images after they are made: which are rejected, and which are rendered once more."""
