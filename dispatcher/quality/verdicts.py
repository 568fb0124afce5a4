"""Which images of a job are rejected, and why: a function of its images alone, in whatever order they came. Pure.

An image with a fault of its own (a flag, a score) is rejected for that, and is the original of no duplicate. Of the
others, each stays unless one before it that stays has the same pixels or looks like it. So of pictures that are the
same exactly one stays, and every duplicate names an image that stays. A chain of pictures of which only neighbours look
alike loses every other one, not all but the first.

Images of what a job began with come before those of its first extension, with all their takes, and so on; within such a
part come first the places, then first takes, then second ones, each by place. What is said of an image depends on those
before it only, so an extension changes nothing of what was there. A take that is rendered late may: it comes before
later takes of its part, and before all of later parts.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dispatcher.quality.duplicates import near_kept, same
from storage.spec import Spec
from storage.spec.number import place_of, show_number
from storage.spec.quality import FLAGS, Bounds, Rules


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image that was made."""

    number: int
    flags: frozenset[str]
    scores: Mapping[str, float]
    pixel_sha256: str | None
    phash: str | None  # 16 hex digits


def has_rules(spec: Spec) -> bool:
    """Whether any image of a job may be rejected."""
    rules = Rules.of(spec)
    return rules is not None and rules.can_reject


def own_faults(facts: Facts, rules: Rules) -> list[str]:
    """Why an image is rejected whatever else its job has; empty if nothing is wrong with it."""
    found: list[str] = [flag for flag in FLAGS if flag in rules.flags and flag in facts.flags]
    for name, bounds in rules.bounds.items():
        found += _beyond(name, facts.scores.get(name), bounds)
    return found


def verdicts(images: Iterable[Facts], rules: Rules, *, firsts: Sequence[int] = (0,)) -> dict[int, str]:
    """Every image that is rejected, and why.

    Args:
        images: All that a job has made, ascending by number.
        rules: Of the job.
        firsts: The first place of each part of the job, ascending.
    """
    rejected: dict[int, str] = {}
    sound = _Sound(firsts)
    for facts in images:
        if found := own_faults(facts, rules):
            rejected[facts.number] = "; ".join(found)
        elif rules.exact or rules.distance is not None:
            sound.add(facts)
    return rejected | _duplicates(sound, rules)


def _duplicates(sound: "_Sound", rules: Rules) -> dict[int, str]:
    found: dict[int, str] = {}
    if rules.distance is not None:
        for number, original, bits in near_kept(sound.looks(), rules.distance):
            found[number] = f"near_duplicate of {show_number(original)} ({bits} {'bit' if bits == 1 else 'bits'})"
    if rules.exact:
        for number, original in same(sound.pixels()):
            if original not in found or number not in found:
                found[number] = f"exact_duplicate of {show_number(original)}"
    return found


class _Sound:
    """Images without a fault of their own, in some 60 bytes each."""

    def __init__(self, firsts: Sequence[int]) -> None:
        self._firsts = firsts
        self._looking: array[int] = array("q")
        self._phashes: array[int] = array("Q")
        self._numbers: array[int] = array("q")
        self._pixels = bytearray()

    def add(self, facts: Facts) -> None:
        if facts.phash is not None:
            self._looking.append(facts.number)
            self._phashes.append(int(facts.phash, 16))
        if facts.pixel_sha256 is not None:
            self._numbers.append(facts.number)
            self._pixels += bytes.fromhex(facts.pixel_sha256)

    def looks(self) -> Iterator[tuple[int, str]]:
        """Numbers and perceptual hashes, as images come before each other."""
        return ((self._looking[at], f"{self._phashes[at]:016x}") for at in self._in_order(self._looking))

    def pixels(self) -> Iterator[tuple[int, str]]:
        """Numbers and the hashes of their pixels, as images come before each other."""
        return ((self._numbers[at], self._pixels[32 * at : 32 * at + 32].hex()) for at in self._in_order(self._numbers))

    def _in_order(self, numbers: "array[int]") -> Sequence[int]:
        """Where in `numbers`, which ascend, the images of each part stand, part by part."""
        if len(self._firsts) == 1:
            return range(len(numbers))
        return sorted(range(len(numbers)), key=lambda at: bisect_right(self._firsts, place_of(numbers[at])))


def _beyond(name: str, score: float | None, bounds: Bounds) -> Iterator[str]:
    below, above = bounds
    if score is None:
        yield f"{name} was not measured"
    elif below is not None and score < below:
        yield f"{name} {score:.4g} below {below:g}"
    elif above is not None and score > above:
        yield f"{name} {score:.4g} above {above:g}"
