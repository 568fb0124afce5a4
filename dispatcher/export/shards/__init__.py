"""How one shard is filled: pictures read ahead and checked, rows into its table, bytes counted and hashed."""
