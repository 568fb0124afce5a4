"""One batch: recipes into the words of a pipeline call, its noise, its steps, its pixels."""
