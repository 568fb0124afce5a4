"""The process that owns a device: its task, what it tells of itself, and its one line to Redis."""
