"""The index of an export, `.farm/index.json`: what it was made of and which of its shards are finished.

It is written whole after every shard, so that an export that was cut off goes on behind its last finished shard. A
shard is named by a file: its tar or parquet; where pictures lie as files, the table beside them that holds the hash of
each. All values are plain JSON; keys of shards are in the order in which they were finished.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from storage.errors import PermanentError
from storage.spec import canonical, digest

INDEX: Final = ".farm/index.json"
INDEX_SCHEMA: Final = 1
REJECTED: Final = "rejected"  # no split of pictures: rows that were not exported


class IndexRefused(PermanentError):
    """The index of an export cannot be used. Args: place, reason."""

    text = "{0}: {1}; export to another folder, or empty this one"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPart:
    """A job that an export takes images of."""

    id: str
    name: str
    spec_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenImage:
    """An image whose object is missing or damaged."""

    job: str
    number: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A finished shard."""

    rows: int
    bytes: int  # of the shard, pictures that lie beside it included
    file_bytes: int = 0  # of the file that names it
    sha256: str  # of the file that names the shard
    split: str
    metadata: str  # its flat rows
    metadata_sha256: str
    left_out: tuple[BrokenImage, ...] = ()

    @property
    def broken(self) -> int:
        """How many images were left out because their objects are missing or damaged."""
        return len(self.left_out)


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """All of `.farm/index.json`."""

    format: str
    options: Mapping[str, Any]
    jobs: tuple[JobPart, ...]
    shard_images: int  # images of a full shard
    labels: tuple[str, ...] = ()  # that have a column of their own
    classes: tuple[str, ...] = ()  # names of the integers in `cls`
    plain: str | None = None  # the job whose keys do not begin with its id: the first one, where it was alone
    rounds: int = 1  # 1, and one more with every --append
    complete: bool = False  # all shards of all rounds are finished
    shards: Mapping[str, Shard] = field(default_factory=dict)
    rejected: Mapping[str, Shard] = field(default_factory=dict)  # tables of what was not exported

    @property
    def options_hash(self) -> str:
        """Of the options that decide bytes."""
        return digest(dict(self.options))

    @property
    def content_hash(self) -> str:
        """Of what the finished shards hold."""
        return digest({name: shard.sha256 for name, shard in self.shards.items()})

    @property
    def says_prompts(self) -> bool:
        """Whether its files may say prompts: not after --no-prompts."""
        return self.options.get("prompts") is not False

    @property
    def splits(self) -> dict[str, dict[str, Any]]:
        """Rows and shards by split, in the order of the first shard of each."""
        found: dict[str, dict[str, Any]] = {}
        for name, shard in sorted(self.shards.items()):
            entry = found.setdefault(shard.split, {"rows": 0, "shards": []})
            entry["rows"] += shard.rows
            entry["shards"].append(name)
        return found

    def with_shard(self, name: str, shard: Shard) -> "Index":
        """The index after one more shard."""
        if shard.split == REJECTED:
            return replace(self, rejected={**self.rejected, name: shard})
        return replace(self, shards={**self.shards, name: shard})

    def without(self, name: str) -> "Index":
        """The index without a shard, which is to be made again."""
        shards = {other: shard for other, shard in self.shards.items() if other != name}
        rejected = {other: shard for other, shard in self.rejected.items() if other != name}
        return replace(self, shards=shards, rejected=rejected, complete=False)

    def has(self, name: str) -> bool:
        """Whether that shard is finished."""
        return name in self.shards or name in self.rejected

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "schema": INDEX_SCHEMA, "format": self.format, "options": dict(self.options),
            "options_hash": self.options_hash, "jobs": [asdict(job) for job in self.jobs],
            "shard_images": self.shard_images, "labels": list(self.labels), "classes": list(self.classes),
            "plain": self.plain, "rounds": self.rounds, "complete": self.complete, "splits": self.splits,
            "shards": {name: _entry(shard) for name, shard in self.shards.items()},
            "rejected": {name: _entry(shard) for name, shard in self.rejected.items()},
        }  # fmt: skip

    def encode(self) -> bytes:
        """The bytes of the file: one spelling, with a line end."""
        return canonical(self.to_json()) + b"\n"

    @classmethod
    def decode(cls, data: bytes, *, place: str) -> Self:
        """Read back what `encode` gave. Raises IndexRefused."""
        try:
            entry = json.loads(data)
            if entry["schema"] != INDEX_SCHEMA:
                raise IndexRefused(place, f"has schema {entry['schema']}, this farm reads {INDEX_SCHEMA}")
            shards = {name: _shard(shard) for name, shard in entry["shards"].items()}
            rejected = {name: _shard(shard) for name, shard in entry["rejected"].items()}
            jobs = tuple(JobPart(**job) for job in entry["jobs"])
            return cls(
                format=entry["format"], options=entry["options"], jobs=jobs, shard_images=entry["shard_images"],
                labels=tuple(entry["labels"]), classes=tuple(entry["classes"]), rounds=entry["rounds"],
                plain=entry["plain"],
                complete=entry["complete"], shards=shards, rejected=rejected,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IndexRefused(place, f"is no index of an export ({type(error).__name__})") from None


def _shard(entry: Mapping[str, Any]) -> Shard:
    left_out = tuple(BrokenImage(**image) for image in entry.get("left_out", ()))
    return Shard(**{**entry, "left_out": left_out})


def _entry(shard: Shard) -> dict[str, Any]:
    entry = asdict(shard)
    left_out = entry.pop("left_out")
    return {**entry, "left_out": list(left_out)} if left_out else entry
