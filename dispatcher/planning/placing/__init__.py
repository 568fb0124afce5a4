"""Which work goes to which worker, and why not. Pure."""
