"""`python -m dispatcher.cli` is `farm`."""

from dispatcher.cli import main

main()
