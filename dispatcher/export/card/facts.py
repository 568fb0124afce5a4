"""What a data card tells of a job and its models. Plain data, without names of users, hosts or folders."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from storage.errors import ModelMissing
from storage.models.sources import HubSource, parse_hub, stored_digest
from storage.spec.quality import SCORERS
from storage.spec.recipe import TELLING_KEYS


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFact:
    """A model that a job renders with."""

    name: str  # in the job file; of a path its last part
    kind: str  # checkpoint, lora, ...; of a scorer the name of its score
    source: str | None  # owner/name@commit of the hub; None: files of the farm
    digest: str | None  # None until a worker resolved it
    family: str | None
    license: str | None  # as registered; None: nobody said

    @property
    def scores(self) -> bool:
        """Whether it measured images and drew none."""
        return self.kind in SCORERS

    @property
    def page(self) -> str | None:
        """Where the hub tells of it."""
        found = _hub(self.source or "")
        if found is None:
            return None
        return f"{found.page}/tree/{found.revision}" if found.is_frozen else found.page


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeFact:
    """Code of an operator's own that had a hand in the images."""

    name: str  # of its entry point
    kind: str  # callback, watermark
    distribution: str | None  # name and version; None, as the digest: in jobs from before it was recorded
    digest: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisFact:
    """An axis of a job: how many values, and some of them."""

    keys: tuple[str, ...]
    count: int
    examples: tuple[str, ...]  # the first ones and the last; none of seeds that are derived
    template: str | None = None
    derived_over: tuple[str, ...] | None = None  # recipe keys that its seeds are derived over; None: not derived
    withheld: bool = False  # it says prompts, and the data set does not


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFact:
    """A file that values were read from."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFacts:
    """A job as its card tells it."""

    id: str
    name: str
    spec_hash: str
    mode: str
    images: int
    done: int
    failed: int
    rejected: int
    models: tuple[ModelFact, ...]
    axes: tuple[AxisFact, ...]
    fixed: Mapping[str, str]  # recipe keys that are the same for all images
    sources: tuple[SourceFact, ...]
    plans: tuple[Mapping[str, Any], ...]
    output: Mapping[str, Any]  # how pictures are encoded and marked
    quality: Mapping[str, Any] | None = None
    combinations: int | None = None  # of its axes, where it renders only some of them
    draw_seed: int | None = None  # of the random sample that it renders
    excludes: bool = False  # whether it leaves out combinations by name
    code: tuple[CodeFact, ...] = ()


def without_prompts(job: JobFacts) -> JobFacts:
    """A job as the card of a data set tells it that says no prompt.

    Files that values were read from go too: a file of words is called like the wildcard that it fills, and is short
    enough to be guessed by its hash.
    """
    axes = (
        replace(axis, examples=(), template=None, withheld=True) if set(axis.keys) & TELLING_KEYS else axis
        for axis in job.axes
    )
    fixed = {key: value for key, value in job.fixed.items() if key not in TELLING_KEYS}
    return replace(job, axes=tuple(axes), fixed=fixed, sources=())


def shown_model(name: str) -> str:
    """A model's name as it may be published: ids and names stay, of a path only the last part."""
    name = name.removeprefix("store:")
    if ("/" not in name and "\\" not in name) or _hub(name) is not None:
        return name
    return PurePath(name.replace("\\", "/")).name or name


def shown_source(source: str) -> str | None:
    """Where a model came from, if that is no place on somebody's machine."""
    return source if stored_digest(source) is None and _hub(source) is not None else None


def _hub(text: str) -> HubSource | None:
    try:
        return parse_hub(text)
    except ModelMissing:
        return None
