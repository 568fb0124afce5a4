"""The end of an export: what stands beside its shards is made from its index and its tables, checksums last.

Everything is made anew each time, from what lies in the target: the same shards give the same files, and an export
that was extended gets a card of the whole.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Final

from dispatcher.export.beside import columns_beside, hashes_beside
from dispatcher.export.card.croissant import CROISSANT, croissant
from dispatcher.export.card.facts import JobFacts, without_prompts
from dispatcher.export.card.features import features_of
from dispatcher.export.card.licences import NOTES, notes
from dispatcher.export.card.plots.drawing import plots
from dispatcher.export.card.plots.sample import sample
from dispatcher.export.card.sums import SUMS, checksums
from dispatcher.export.card.tallying import Tally
from dispatcher.export.card.text.body import SAMPLE, card
from dispatcher.export.formats import LAYOUTS
from dispatcher.export.index import Index
from dispatcher.export.targets import Target

README: Final = "README.md"
_BATCH: Final = 2048  # rows
_COUNTED: Final = (
    "state", "rejected", "reason", "file_name", "prompt", "labels", "scheduler", "model", "plan", "device_type",
    "torch", "diffusers", "transformers", "steps", "guidance_scale", "strength", "width", "height", "take",
    "truncated", "nsfw", "low_variance", "clip", "aesthetic", "safety",
)  # fmt: skip


def finish(target: Target, index: Index, jobs: Sequence[JobFacts]) -> None:
    """Write README.md, croissant.json, LICENSE-NOTES.md, plots/ and, last, SHA256SUMS.

    Args:
        target: Where the shards, their tables and the index are already.
        index: Of the export.
        jobs: That it was made of, in its order.

    Raises:
        BlobMissing: A table that the index names is not there.
        StoreAway: Repeat it.
        DiskFull: Repeat it when there is room.
    """
    if not index.says_prompts:
        jobs = [without_prompts(job) for job in jobs]
    tally, known = _counted(target, index)
    shown = list(_drawn(target, index, tally))
    suffix = tally.suffixes.most_common(1)[0][0] if tally.suffixes else "png"
    text = card(index, jobs, tally, suffix=suffix, plots=shown, features=features_of(index))
    target.put(README, text.encode())
    target.put(CROISSANT, croissant(index, jobs, suffix=suffix, versions=_versions(tally)).encode())
    target.put(NOTES, notes(jobs).encode())
    target.put(SUMS, checksums(target, index, known=known).encode())


def _counted(target: Target, index: Index) -> tuple[Tally, dict[str, str]]:
    """Counts over all tables, one table and one batch at a time; hashes of pictures and captions that lie as files."""
    import pyarrow.parquet as pq

    tally, known = Tally(), dict[str, str]()
    lying = LAYOUTS[index.format].places_files
    beside = columns_beside(index) if lying else []
    for name in tables_of(index):
        table = pq.ParquetFile(io.BytesIO(target.get(name)))
        columns = [column for column in dict.fromkeys((*_COUNTED, *beside)) if column in table.schema_arrow.names]
        for batch in table.iter_batches(_BATCH, columns=columns):
            tally.read(batch)
            if lying:  # some hundred bytes a picture: a folder of millions of files has other troubles
                known.update(hashes_beside(index, batch.select(beside).to_pylist()))
    return tally, known


def tables_of(index: Index) -> list[str]:
    """Names of all tables of rows: of what is in the set, then of what is not."""
    return [shard.metadata for _, shard in (*sorted(index.shards.items()), *sorted(index.rejected.items()))]


def _drawn(target: Target, index: Index, tally: Tally) -> Iterator[tuple[str, str]]:
    """Write the pictures of the card; name and what each shows."""
    mosaic = sample(target, index)
    if mosaic is not None:
        target.put(SAMPLE, mosaic)
        yield SAMPLE, "images spread over the whole set"
    for name, shows, data in plots(tally):
        target.put(name, data)
        yield name, shows


def _versions(tally: Tally) -> dict[str, str]:
    """Versions of the libraries, where all images have the same."""
    found: dict[str, set[str]] = {"torch": set(), "diffusers": set(), "transformers": set()}
    for words in tally.versions:
        for name, word in zip(found, words, strict=False):
            found[name].add(word)
    return {name: next(iter(words)) for name, words in found.items() if len(words) == 1 and words != {""}}
