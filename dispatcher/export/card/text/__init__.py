"""The words of a data card, README.md: pure functions of the index, the jobs and the counts."""
