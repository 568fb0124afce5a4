"""One execution of a chunk: from the message to the manifest. Knows neither Redis nor torch."""

from worker.runs.run import Run
from worker.runs.tools import Tools

__all__ = ["Run", "Tools"]
