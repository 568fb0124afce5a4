"""The schedulers that a job may name, without importing diffusers.

An explicit list, because neither "it is exported" nor `scheduler.compatibles` means "it draws the right picture":
EDMEuler is listed as compatible with Stable Diffusion and gives noise, LCM and TCD are not listed and work.
Tests hold the list equal to the installed diffusers, and every entry against a model whose answer is known.

    kind    what an entry says       diffusion, flow   the entries
    lookup  from a name to an entry  models            which entries suit a model
"""

from storage.spec.schedulers.kind import SchedulerKind
from storage.spec.schedulers.lookup import SCHEDULERS, check_options, check_steps, find_scheduler
from storage.spec.schedulers.models import is_flow_class, sampling_of

__all__ = [
    "SCHEDULERS",
    "SchedulerKind",
    "check_options",
    "check_steps",
    "find_scheduler",
    "is_flow_class",
    "sampling_of",
]
