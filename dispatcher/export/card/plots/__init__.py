"""The pictures of a data card: plots of the counts, and a few of the images themselves."""
