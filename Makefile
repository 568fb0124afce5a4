# `make chaos` breaks a farm on this machine for up to an hour and prints the two tables of docs/reliability.md.
# More: .venv/bin/python -m benchmarks.chaos --help
.PHONY: chaos
SEED ?= 1

chaos:
	@.venv/bin/python -m benchmarks.chaos --seed $(SEED)

# `make bench-export` measures exports against a plain copy into a tar, and their memory at 2 * 10^4 and 10^5 images.
.PHONY: bench-export
bench-export:
	@.venv/bin/python -m benchmarks.export
