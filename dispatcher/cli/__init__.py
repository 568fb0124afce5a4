"""The command `farm`. Importing it loads click and nothing heavy: each command imports what it needs when it runs."""

from dispatcher.cli.root import main

__all__ = ["main"]
