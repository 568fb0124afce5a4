"""What outlives a process, and the words that dispatcher and worker share. No torch."""
