"""How a run ends early."""

from storage.errors import PermanentError
from storage.wire.messages import Fault


class OnlyHere(PermanentError):
    """Nothing of a job can be rendered on this host; another may be able to. Args: a sentence."""


class Broken(Exception):  # no error of the run: it ends with a manifest
    """The device or its memory gave out. Args: the reason, a sentence, ranges of what was in the pipeline."""

    @property
    def fault(self) -> Fault:
        """As a manifest says it."""
        reason, detail, ranges = self.args
        return Fault(reason=reason, detail=detail, ranges=ranges)
