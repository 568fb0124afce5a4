"""What a key of the store is, by its name alone. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from storage.spec.encoding import SUFFIXES

Kind = Literal["run", "about", "input", "model", "other"]
STEPS: Final = ".steps.jpg"  # the end of a preview's key, see storage.wire.keys.preview_key
MANIFEST: Final = "manifest.json"

_RUN = re.compile(r"jobs/(?P<job>[^/]+)/(?P<chunk>\d{1,10})\.(?P<attempt>\d{1,10})-(?P<run>[^/]+)/(?P<name>.+)")
_ABOUT = re.compile(r"jobs/(?P<job>[^/]+)/(?P<name>.+)")


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key belongs."""

    kind: Kind  # run: of a run; about: spec, notes and the like of a job
    job: str = ""
    chunk: int = -1
    name: str = ""  # behind the run's prefix, or behind the job's

    @property
    def is_manifest(self) -> bool:
        """Whether it is what a run wrote last."""
        return self.kind == "run" and self.name == MANIFEST

    @property
    def is_preview(self) -> bool:
        """Whether it is a strip of steps."""
        return self.kind == "run" and self.name.endswith(STEPS)

    @property
    def is_spec(self) -> bool:
        """Whether it is a frozen spec."""
        return self.kind == "about" and self.name.startswith("spec") and self.name.endswith(".json")


def place_of(key: str) -> KeyPlace:
    """Read a key."""
    if found := _RUN.fullmatch(key):
        return KeyPlace("run", found["job"], int(found["chunk"]), found["name"])
    if found := _ABOUT.fullmatch(key):
        return KeyPlace("about", found["job"], name=found["name"])
    top = key.partition("/")[0]
    return KeyPlace({"inputs": "input", "models": "model"}.get(top, "other"), name=key)  # type: ignore[arg-type]


def names_of(key: str) -> tuple[str, ...]:
    """The keys by which rows may name an object: its own, and of a preview those that its image may have."""
    if not key.endswith(STEPS):
        return (key,)
    return (key, *(f"{key.removesuffix(STEPS)}.{suffix}" for suffix in sorted(SUFFIXES)))
