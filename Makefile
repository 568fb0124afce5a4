# `make chaos` breaks a farm on this machine for up to an hour and prints the two tables of docs/reliability.md.
# More: .venv/bin/python -m benchmarks.chaos --help
.PHONY: chaos
SEED ?= 1

chaos:
	@.venv/bin/python -m benchmarks.chaos --seed $(SEED)
