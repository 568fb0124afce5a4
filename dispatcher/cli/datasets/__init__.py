"""Commands that make a data set of a job, publish it and check it."""
