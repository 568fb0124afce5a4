"""What stands beside the shards of an export: the data card, Croissant, checksums, notes on licences, plots."""
