"""A lost database, made anew from the store."""
