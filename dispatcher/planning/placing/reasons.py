"""Why something is not issued, as a kind and a sentence: the feeder decides by it, `farm why` prints it. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The kinds of reasons, those of a whole job first."""

    ENDED = "ended"
    PAUSED = "paused"
    STOPPED = "stopped"
    WISH = "wish"  # its user wished something that is not done yet
    DEADLINE = "deadline"
    BUDGET = "budget"
    MODELS = "models"  # they are being read
    JUDGING = "judging"  # all of it is made or failed, and is held against its quality rules
    ALL_ISSUED = "all-issued"  # whatever is left is with workers
    NO_LEADER = "no-leader"
    NO_BROKER = "no-broker"
    NO_WORKER = "no-worker"
    DEVICE_TYPE = "device-type"  # the plan is for another kind of device
    TOO_LARGE = "too-large"  # the device cannot hold the plan
    UNDECIDED = "undecided"  # the device cannot hold the plan, and it is open whether a smaller one is allowed
    DRAINS = "drains"
    RESTS = "rests"  # after failures
    FAILED_HERE = "failed-here"  # the chunk did, and others are there
    LOST_HERE = "lost-here"  # the chunk was, and others are there
    BUSY = "busy"
    HIGHER_CLASS = "higher-class"  # goes first
    OTHER_USER = "other-user"  # fair share
    OTHER_JOB = "other-job"  # of the same user: fair share


@dataclass(frozen=True, slots=True)
class WhyNot:
    """One reason, in words."""

    reason: Reason
    says: str
