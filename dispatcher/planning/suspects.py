"""Which images go on together after a run ended by the work's own fault. Pure.

Those that were in the pipeline are suspects: they go on in a chunk of their own with one fault more, away from the
worker that they ended. Where nobody knows which, all of them are, and with two faults they are halved until the bad one
stands alone. An image alone with three has failed.
"""

from dataclasses import dataclass
from itertools import islice

from storage.spec import Numbers
from storage.spec.number import show_number

LAST_FAULT = 3  # runs that one image may end
HALVED_AT = 2  # faults from which several suspects are parted


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Images that go on in one chunk, or fail."""

    numbers: Numbers
    faults: int
    accused: bool  # it may have been in the pipeline
    failed: bool = False  # one image that was there alone, once too often


def divide(numbers: Numbers, *, suspects: Numbers | None, faults: int) -> list[Part]:
    """Divide what a run left undone.

    Args:
        numbers: Images that are to go on, at least one.
        suspects: Those that were in the pipeline; others are passed over. None, or none of `numbers`: nobody knows.
        faults: That the chunk had before.

    Returns:
        Parts that hold each number once and in order: suspects first.
    """
    known = {number for number in numbers if suspects is not None and number in suspects}
    accused = Numbers.of(number for number in numbers if not known or number in known)
    rest = Numbers.of(number for number in numbers if known and number not in known)
    failed = len(accused) == 1 and faults + 1 >= LAST_FAULT
    parts = [
        Part(numbers=part, faults=faults + 1, accused=True, failed=failed)
        for part in _pieces(accused, halve=faults + 1 >= HALVED_AT)
    ]
    return [*parts, Part(numbers=rest, faults=faults, accused=False)] if rest else parts


def _pieces(numbers: Numbers, *, halve: bool) -> list[Numbers]:
    if not halve or len(numbers) == 1:
        return [numbers]
    middle = (len(numbers) + 1) // 2
    return [Numbers.of(islice(numbers, middle)), Numbers.of(islice(numbers, middle, None))]


def sentence(reason: str, *, job: str, number: int, faults: int, node: str | None) -> str:
    """Why an image that ended its runs has failed, and the next step."""
    ways = {"crash": "the worker's process died", "hung": "the worker hung", "device_error": "the device broke"}
    return (
        f"{ways.get(reason, reason)} {faults} times while it was rendered, the last time on {node or 'a worker'};"
        f" see 'farm logs {job}', then 'farm retry {job} --image {show_number(number)}'"
    )
