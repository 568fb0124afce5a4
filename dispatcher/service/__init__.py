"""The dispatcher's process: feed workers, record what they made, take back what is lost."""
