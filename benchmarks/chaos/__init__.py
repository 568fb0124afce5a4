"""How a farm bears faults, measured: two tables for docs/reliability.md."""
