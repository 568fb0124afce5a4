"""The images of a chunk through the pipeline, on the device's thread."""
