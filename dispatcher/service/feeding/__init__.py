"""From jobs to chunks in workers' queues."""
