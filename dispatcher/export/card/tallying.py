"""Counts over the metadata of an export, read batch by batch: memory does not grow with the number of images."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import floor, isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

from dispatcher.export.card.text.escaping import line

PROMPTS: Final = 50_000  # counted apart; further ones are summed
OTHERS: Final = 2_000  # of anything else
SCORES: Final = ("clip", "aesthetic", "safety")
SETTINGS: Final = ("model", "scheduler", "steps", "guidance_scale", "strength", "size")
_FLAGS: Final = ("truncated", "nsfw", "low_variance")
_KEPT: Final = 160  # characters of a prompt that are kept while counting
_BINS: Final = 256
_LIBRARIES: Final = ("torch", "diffusers", "transformers")
_TEXTS: Final = (
    "state", "rejected", "reason", "file_name", "prompt", "labels", "scheduler", "model", "plan", "device_type",
    *_LIBRARIES,
)  # fmt: skip
_NUMBERS: Final = {
    "steps": "int64", "guidance_scale": "float64", "strength": "float64", "width": "int64", "height": "int64",
    "take": "int64", **dict.fromkeys(_FLAGS, "bool"), **dict.fromkeys(SCORES, "float64"),
}  # fmt: skip


@dataclass(slots=True)
class Counts:
    """How many images, and what came of them. One may be rejected and exported, where a user asked for that."""

    images: int = 0
    exported: int = 0
    rejected: int = 0
    failed: int = 0

    def add(self, more: Sequence[int]) -> None:
        """Count more of them, in the order of the fields."""
        self.images += more[0]
        self.exported += more[1]
        self.rejected += more[2]
        self.failed += more[3]

    @property
    def lost(self) -> int:
        """Rejected or failed."""
        return self.rejected + self.failed


@dataclass(slots=True)
class Groups:
    """Counts by a key, for so many keys; those that come later are summed in `rest`."""

    limit: int
    known: dict[Any, Counts] = field(default_factory=dict)
    rest: Counts = field(default_factory=Counts)

    def add(self, key: Any, more: Sequence[int]) -> None:
        """Count more images of a key."""
        if key not in self.known and len(self.known) >= self.limit:
            self.rest.add(more)
        else:
            self.known.setdefault(key, Counts()).add(more)

    @property
    def is_full(self) -> bool:
        """Whether some keys were not counted apart."""
        return self.rest.images > 0


@dataclass(slots=True)
class Histogram:
    """Values in bins that grow wider as the range grows; the same whatever the order of the values."""

    width: float = 1 / 1024
    bins: Counter[int] = field(default_factory=Counter)
    count: int = 0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def add(self, values: Iterable[float]) -> None:
        """Count more values."""
        for value in values:
            if not isfinite(value):
                continue
            self.low, self.high = (min(self.low, value), max(self.high, value)) if self.count else (value, value)
            self.count, self.total = self.count + 1, self.total + value
            self.bins[floor(value / self.width)] += 1
            while len(self.bins) > _BINS:
                self._widen()

    def _widen(self) -> None:
        wider: Counter[int] = Counter()
        for place, count in self.bins.items():
            wider[place // 2] += count
        self.bins, self.width = wider, self.width * 2


@dataclass(slots=True)
class Tally:
    """All that a card and its plots tell of the rows."""

    all: Counts = field(default_factory=Counts)
    prompts: Groups = field(default_factory=lambda: Groups(PROMPTS))  # by a hash of the text
    texts: dict[bytes, str | None] = field(default_factory=dict)  # hash -> the beginning of the prompt
    settings: Groups = field(default_factory=lambda: Groups(OTHERS))  # by the values of SETTINGS
    takes: Groups = field(default_factory=lambda: Groups(OTHERS))
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # (rejected | failed | left out, why)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    suffixes: Counter[str] = field(default_factory=Counter)  # of the pictures
    flags: Counter[str] = field(default_factory=Counter)
    plans: Counter[str] = field(default_factory=Counter)
    versions: Counter[tuple[str, ...]] = field(default_factory=Counter)
    scores: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in SCORES})

    def of(self, name: str) -> dict[Any, Counts]:
        """Counts by one of SETTINGS, in order of the values."""
        place, found = SETTINGS.index(name), dict[Any, Counts]()
        for key, counts in self.settings.known.items():
            told = (counts.images, counts.exported, counts.rejected, counts.failed)
            found.setdefault(key[place], Counts()).add(told)
        return dict(sorted(found.items(), key=lambda entry: (entry[0] is not None, _rank(entry[0]))))

    def read(self, batch: "pa.RecordBatch") -> None:
        """Count the rows of a batch; columns that it lacks say nothing."""
        import pyarrow as pa

        rows = pa.Table.from_batches([batch])
        rows = _completed(rows)
        self.all.add(_sums(rows))
        for key, more in _grouped(rows, ("prompt",)):
            self._prompt(key[0], more)
        for key, more in _grouped(rows, SETTINGS):
            self.settings.add(key, more)
        for (take,), more in _grouped(rows, ("take",)):
            self.takes.add(take or 0, more)
        for (outcome, why), more in _grouped(rows, ("outcome", "why")):
            if outcome != "exported":
                _count(self.reasons, (outcome, kind_of(why)), more[0])
        self._labels(rows)
        self._facts(rows)

    def _prompt(self, text: str | None, more: Sequence[int]) -> None:
        key = b"" if text is None else blake2b(text.encode(errors="surrogatepass"), digest_size=12).digest()
        self.prompts.add(key, more)
        if key in self.prompts.known and key not in self.texts:
            self.texts[key] = None if text is None else line(text, limit=_KEPT)

    def _labels(self, rows: "pa.Table") -> None:
        for (labels,), more in _grouped(rows, ("labels",)):
            for name, value in json.loads(labels or "{}").items():
                if name in self.labels or len(self.labels) < OTHERS:
                    _count(self.labels.setdefault(name, Counter()), str(value)[:_KEPT], more[0])

    def _facts(self, rows: "pa.Table") -> None:
        for (plan,), more in _grouped(rows, ("plan",)):
            if plan is not None:
                _count(self.plans, plan, more[0])
        for versions, more in _grouped(rows, (*_LIBRARIES, "device_type")):
            _count(self.versions, tuple(word or "" for word in versions), more[0])
        for (suffix,), more in _grouped(rows, ("suffix",)):
            if suffix:
                _count(self.suffixes, suffix, more[0])
        for flag in _FLAGS:
            self.flags[flag] += _sum(rows, flag)
        for name in SCORES:
            self.scores[name].add(value for value in rows[name].to_pylist() if value is not None)


def kind_of(why: str | None) -> str:
    """The kind of a reason: what stands before its particulars, such as "near_duplicate of 12" without the number."""
    words = (why or "").split(":")[0].split("(")[0].split()
    kept = [word for word in words if not any(digit.isdigit() for digit in word)]
    while len(kept) > 1 and kept[-1] in ("of", "is", "to", "than", "with", "<", ">", "below", "above"):
        kept.pop()
    return " ".join(kept)[:_KEPT] or "no reason told"


def _count(counter: Counter[Any], key: Any, more: int) -> None:
    """Count in a bounded counter: what comes past its limit is no longer told apart, and left out."""
    if key in counter or len(counter) < OTHERS:
        counter[key] += more


def _completed(rows: "pa.Table") -> "pa.Table":
    """The columns that are counted, of one type each, and what follows from them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = {**dict.fromkeys(_TEXTS, "string"), **_NUMBERS}
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        wanted = pa.type_for_alias(kind)
        found = rows[name].cast(wanted) if name in rows.column_names else pa.nulls(len(rows), wanted)
        columns[name] = found
    failed = pc.fill_null(pc.equal(columns["state"], "failed"), False)
    rejected, exported = pc.is_valid(columns["rejected"]), pc.is_valid(columns["file_name"])
    outcome = pc.if_else(
        failed, "failed", pc.if_else(rejected, "rejected", pc.if_else(exported, "exported", "left out"))
    )
    columns["size"] = pc.binary_join_element_wise(
        columns["width"].cast("string"), columns["height"].cast("string"), "×"
    )
    columns |= {
        "outcome": outcome,
        "why": pc.if_else(failed, columns["reason"], pc.coalesce(columns["rejected"], columns["reason"])),
    }
    columns["suffix"] = pc.replace_substring_regex(columns["file_name"], r".*\.", "")
    columns |= {"images": pa.repeat(1, len(rows)), "exported_": exported.cast("int64")}
    columns |= {"rejected_": rejected.cast("int64"), "failed_": failed.cast("int64")}
    return pa.table(columns)


_SUMMED: Final = ("images", "exported_", "rejected_", "failed_")


def _sums(rows: "pa.Table") -> list[int]:
    return [_sum(rows, name) for name in _SUMMED]


def _sum(rows: "pa.Table", name: str) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(rows[name].cast("int64")).as_py() or 0)


def _grouped(rows: "pa.Table", keys: tuple[str, ...]) -> Iterator[tuple[tuple[Any, ...], list[int]]]:
    """Counts by the values of some columns, in the order in which they come."""
    found = rows.group_by(list(keys), use_threads=False).aggregate([(name, "sum") for name in _SUMMED])
    values = [found[key].to_pylist() for key in keys]
    sums = [found[f"{name}_sum"].to_pylist() for name in _SUMMED]
    yield from zip(zip(*values, strict=True), (list(four) for four in zip(*sums, strict=True)), strict=True)


def _rank(value: Any) -> tuple[Any, ...]:
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0, str(value))
