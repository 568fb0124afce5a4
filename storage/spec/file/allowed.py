"""What a farm lets a job use besides its own text: models, and pictures from elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from storage.settings import INPUT_BYTES, INPUT_PIXELS


class KnownModel(Protocol):
    """A model that somebody registered under a name."""

    @property
    def kind(self) -> str:
        """Such as "checkpoint" or "lora"."""

    @property
    def source(self) -> str:
        """Where it lies, frozen: "store:sha256:..." or "owner/name@commit"."""


def _none(_name: str) -> KnownModel | None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """The farm's side of freezing. The defaults are those of one machine that renders for itself."""

    find_model: Callable[[str], KnownModel | None] = _none  # by registered name
    unregistered_models: bool = True  # folders, files and hub ids that nobody registered
    input_hosts: frozenset[str] = frozenset()  # hosts that input images may be fetched from
    input_bytes: int = INPUT_BYTES  # of one input image's file
    input_pixels: int = INPUT_PIXELS  # width x height of one input image


ON_ONE_MACHINE: Final = Allowed()
