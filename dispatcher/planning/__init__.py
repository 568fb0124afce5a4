"""Decisions without effects: what goes where, what is lost, what a manifest may say. Pure."""
