"""Commands that run the farm's programs, or look at them."""
