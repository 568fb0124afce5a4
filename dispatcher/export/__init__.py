"""A job as a data set: what is chosen of it, how it is laid out in shards, and where they go."""
