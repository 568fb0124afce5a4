"""Which images of a job an export takes, and in which split each of them stands."""
