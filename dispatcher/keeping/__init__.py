"""What lies in the store, held against what SQL says of it: garbage, usage, checks, and a database made anew."""
