"""Queries that hold SQL against the store."""
