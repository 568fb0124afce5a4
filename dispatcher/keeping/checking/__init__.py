"""What SQL says held against what the store holds, and put right."""
