"""Exports as the engine leaves them before the card is made: shards, tables and an index, of a few drawn pictures."""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dispatcher.export.card.facts import AxisFact, JobFacts, ModelFact, SourceFact
from dispatcher.export.formats import LAYOUTS, Setting
from dispatcher.export.index import INDEX, REJECTED, Index, JobPart, Shard
from dispatcher.export.planning import PlannedShard
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.sample import Sample, key_of
from dispatcher.export.shards.tables import TableWriter, row_schema
from dispatcher.export.targets import FolderTarget
from dispatcher.provenance.columns import COLUMNS
from storage.spec import Numbers

PLAN = {"device_type": "cpu", "dtype": "float32", "batch": 4, "threads": 1, "tf32": False, "attention": "sdpa"}
PROMPTS = ("a red fox", "a white fox | on `snow`", "ein Fuchs <b>🦊</b>\nin two lines")
SCHEDULERS = ("ddim", "euler_a")


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A flat row with something in every column that a card counts."""
    told = {
        "image_id": f"k3v9/{number}", "job": "k3v9", "job_name": "foxes", "number": number, "take": 0, "state": "done",
        "recipe_hash": f"{number:064x}", "prompt": PROMPTS[number % 3], "negative_prompt": "", "labels": "{}",
        "truncated": False, "seed": number, "mode": "text-to-image", "model": "sd",
        "model_digest": "sha256:" + "a" * 64, "family": "StableDiffusionPipeline", "scheduler": SCHEDULERS[number % 2],
        "steps": 10 + 10 * (number // 2 % 3),
        "guidance_scale": 7.5, "width": 64, "height": 64, "plan": json.dumps(PLAN), "plan_hash": "p", "batch": 4,
        "device_type": "cpu", "torch": "2.9.1", "diffusers": "0.42.1", "transformers": "5.20.0", "format": "png",
        "nsfw": False, "low_variance": False, "scores": "{}", **changes,
    }  # fmt: skip
    return {**dict.fromkeys(column.name for column in COLUMNS), **told}


def rows(count: int = 12) -> list[dict[str, Any]]:
    """Rows of a job of which some were rejected and one failed."""
    made = [row(number, clip=0.2 + number / 100) for number in range(count)]
    changes: dict[int, dict[str, Any]] = {
        3: {"rejected": "near_duplicate of 1", "reason": "rejected"},
        5: {"rejected": "clip 0.12 below 0.2", "clip": 0.12, "reason": "rejected"},
        7: {"state": "failed", "reason": "blank", "detail": "one single colour", "plan": None, "torch": None},
    }
    for number, change in changes.items():
        made[number : number + 1] = [told | change for told in made[number : number + 1]]
    return made


def picture(number: int) -> bytes:
    """A small PNG, another one for each number."""
    image = Image.new("RGB", (64, 64), (40 + 16 * number % 200, 90, 200 - 12 * number % 180))
    image.paste((255, 240, 200), (8 + number % 24, 16, 40 + number % 24, 48))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def exported(
    folder: Path, form: str = "webdataset", *, made: Sequence[Mapping[str, Any]] | None = None,
    shard_images: int = 4, splits: Sequence[str] = ("train",), **options: Any,
) -> tuple[FolderTarget, Index]:  # fmt: skip
    """Write an export; what was rejected or failed goes to its own table."""
    target = FolderTarget(folder)
    target.prepare()
    index = Index(
        format=form, options={"format": form, **options}, shard_images=shard_images, complete=True,
        jobs=(JobPart(id="k3v9", name="foxes", spec_hash="f" * 64),),
    )  # fmt: skip
    made = rows() if made is None else made
    taken = [entry for entry in made if entry["state"] == "done" and entry["rejected"] is None]
    for place, start in enumerate(range(0, len(taken), shard_images)):
        split = splits[place % len(splits)]
        planned = PlannedShard(split, place // len(splits), [("k3v9", Numbers())])
        index = index.with_shard(*_shard(target, index, planned, taken[start : start + shard_images]))
    left = [entry for entry in made if entry not in taken]
    if left:
        name, sha256, size = _table(target, "metadata/rejected-000000.parquet", left)
        shard = Shard(rows=len(left), bytes=size, sha256=sha256, split=REJECTED, metadata=name, metadata_sha256=sha256)
        index = index.with_shard(name, shard)
    target.put(INDEX, index.encode())
    return target, index


def _shard(
    target: FolderTarget, index: Index, planned: PlannedShard, taken: Sequence[Mapping[str, Any]]
) -> tuple[str, Shard]:
    captions = bool(index.options.get("captions"))
    layout = LAYOUTS[index.format](Setting(columns=COLUMNS, captions=captions))
    samples = list(_samples(layout, planned, taken))
    for sample in samples:
        for name, data in layout.files(sample).items():
            target.put(name, data)
    name, size = layout.shard_name(planned), sum(sample.size for sample in samples)
    table, table_hash, _ = _table(target, layout.metadata_name(planned), [sample.row for sample in samples])
    told = {"rows": len(samples), "split": planned.split, "metadata": table, "metadata_sha256": table_hash}
    if name == table:
        return name, Shard(**told, bytes=size, sha256=table_hash)
    with target.draft() as draft:
        with HashedFile(draft) as file:
            writer = layout.writer(file)
            assert writer is not None
            for sample in samples:
                writer.add(sample)
            writer.close()
        target.take(name, draft)
    return name, Shard(**told, bytes=file.bytes, sha256=file.sha256)


def _samples(layout: Any, planned: PlannedShard, taken: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    for entry in taken:
        data, key = picture(entry["number"]), key_of(entry["number"], job=None)
        name = layout.file_name(planned, key, "png", None)
        told = {
            **entry,
            "file_name": name,
            "split": planned.split,
            "sha256_exported": _sha256(data),
            "bytes": len(data),
        }
        yield Sample(key=key, file_name=name, suffix="png", data=data, size=len(data), row=told,
                     caption=entry["prompt"] or "")  # fmt: skip


def _table(target: FolderTarget, name: str, entries: Sequence[Mapping[str, Any]]) -> tuple[str, str, int]:
    with target.draft() as draft:
        with HashedFile(draft) as file:
            table = TableWriter(file, row_schema(COLUMNS))
            for entry in entries:
                table.add(entry)
            table.close()
        target.take(name, draft)
    return name, file.sha256, file.bytes


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def job(**changes: Any) -> JobFacts:
    """What a card is told of the job that `rows` belong to."""
    model = ModelFact(
        name="sd", kind="checkpoint", source="owner/sd@" + "c" * 40, digest="sha256:" + "a" * 64,
        family="StableDiffusionPipeline", license="creativeml-openrail-m",
    )  # fmt: skip
    told: dict[str, Any] = {
        "id": "k3v9", "name": "foxes", "spec_hash": "f" * 64, "mode": "text-to-image", "images": 12, "done": 11,
        "failed": 1, "rejected": 2, "models": (model,), "plans": (PLAN,), "output": {"format": "png"},
        "axes": (
            AxisFact(keys=("prompt",), count=3, examples=PROMPTS),
            AxisFact(keys=("scheduler",), count=2, examples=SCHEDULERS),
            AxisFact(keys=("seed",), count=100, examples=("0", "1", "2", "3", "4", "99")),
        ),
        "fixed": {"guidance_scale": "7.5", "model": "sd"}, "sources": (SourceFact(name="foxes.txt", sha256="e" * 64),),
        "quality": {"near_duplicate": {"distance": 4}, "clip": {"model": "./clip", "below": 0.2}},
    }  # fmt: skip
    return JobFacts(**{**told, **changes})


def rewrite(folder: Path, name: str, change: tuple[str, str]) -> None:
    """Change a file and what SHA256SUMS says of it."""
    file, sums = folder / name, folder / "SHA256SUMS"
    old = file.read_bytes()
    new = old.replace(change[0].encode(), change[1].encode())
    assert new != old
    file.write_bytes(new)
    hashes = [hashlib.sha256(data).hexdigest() for data in (old, new)]
    sums.write_text(sums.read_text().replace(*hashes))
