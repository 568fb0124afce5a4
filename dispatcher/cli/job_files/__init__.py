"""Commands around a job file."""
