"""How a model is named: a folder or file of this host, an id of the hub, or what the object store keeps.

/models/sdxl                                     a diffusers folder, or a .safetensors file
owner/name@revision?variant=fp16&path=sub/file   the Hugging Face hub
store:sha256:0f3a...                             frozen by 'farm model add'
"""

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from storage.errors import ModelMissing

STORE: Final = "store:sha256:"
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?:\?(?P<options>.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HEX = re.compile(r"[0-9a-f]{64}")
_OPTIONS: Final = ("variant", "path", "encoder")


@dataclass(frozen=True, kw_only=True, slots=True)
class HubSource:
    """A model on the hub."""

    repository: str  # owner/name
    revision: str | None = None  # branch, tag or commit; None: the main branch
    variant: str | None = None  # such as fp16: which of several copies of the weights
    path: str | None = None  # a file or folder in the repository; None: all of it
    encoder: str | None = None  # of an IP-Adapter: the folder of its image encoder

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        options = {name: getattr(self, name) for name in _OPTIONS if getattr(self, name)}
        return f"{self.repository}{revision}{'?' + urlencode(options, safe='/') if options else ''}"

    @property
    def is_frozen(self) -> bool:
        """Whether the revision is a commit, so that the bytes can never change."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    @property
    def page(self) -> str:
        """Where a person reads about the model and accepts its licence."""
        return f"https://huggingface.co/{self.repository}"

    def at(self, commit: str) -> "HubSource":
        """The same model frozen at a commit."""
        return replace(self, revision=commit)


def parse_hub(source: str) -> HubSource | None:
    """Read an id of the hub; None if the text is none."""
    found = _HUB.fullmatch(source)
    if found is None or source.startswith((".", "/", "~")):
        return None
    options = dict(parse_qsl(found["options"] or "", keep_blank_values=True))
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown or not all(options.values()):
        raise ModelMissing(source, f"after '?' come {', '.join(_OPTIONS)} with a value each, joined by '&'")
    for place in (found["repository"], found["revision"], options.get("path"), options.get("encoder")):
        if place is not None and any(part in ("", ".", "..") or "\0" in part for part in place.split("/")):
            raise ModelMissing(source, f"{place!r} leads out of the repository; name a file or folder in it")
    return HubSource(repository=found["repository"], revision=found["revision"], **options)


def stored_digest(source: str) -> str | None:
    """The 64 hex digits of a model in the object store; None if the text names none."""
    found = source.removeprefix(STORE)
    return found if source.startswith(STORE) and _HEX.fullmatch(found) else None
