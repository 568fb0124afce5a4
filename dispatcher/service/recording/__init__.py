"""From what workers report to rows, and to notes in the store."""
