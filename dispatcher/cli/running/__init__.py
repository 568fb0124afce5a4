"""Commands about jobs and workers."""
