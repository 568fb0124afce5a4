"""The front matter of a data card: YAML that the hub reads and that `datasets` obeys. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatcher.export.card.facts import JobFacts
from dispatcher.export.card.licences import NOTES, agreed, models_of
from dispatcher.export.card.text.escaping import line
from dispatcher.export.index import Index

_SIZES: Final = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_TASKS: Final = {
    "text-to-image": "text-to-image", "image-to-image": "image-to-image", "inpaint": "image-to-image",
    "depth-to-image": "image-to-image", "unconditional": "unconditional-image-generation",
}  # fmt: skip
_PATTERNS: Final = {
    "webdataset": "data/{split}-*.tar", "parquet": "data/{split}-*.parquet", "imagefolder": "data/{split}/**",
    "folder": "data/{split}/**/*.{suffix}",
}  # fmt: skip


def front_matter(
    index: Index, jobs: Sequence[JobFacts], *, suffix: str = "png", features: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The YAML between the two lines of dashes, and those lines.

    One configuration only, on the images: `datasets` takes the loader of the first one for all of them, and would
    read the tables of `metadata/` as more images.

    Args:
        index: Of the export.
        jobs: That it was made of.
        suffix: Of the pictures.
        features: Columns of a parquet export, as `dataset_info` names them; of other formats none, since telling
            them switches off what the loader finds out by itself.
    """
    import yaml

    rows = sum(entry["rows"] for entry in index.splits.values())
    entry: dict[str, Any] = {
        "pretty_name": title(jobs), **_license(jobs), "size_categories": [size_category(rows)],
        "task_categories": sorted({_TASKS[job.mode] for job in jobs if job.mode in _TASKS}),
        "annotations_creators": ["machine-generated"], "source_datasets": ["original"],
        "tags": ["synthetic", "diffusers", "seedfarm", index.format, *_text_tags(jobs)],
    }  # fmt: skip
    if index.format == "parquet" and features:
        entry["dataset_info"] = {"config_name": "default", "features": [dict(feature) for feature in features]}
    entry["configs"] = [_config(index, suffix)]
    body = yaml.safe_dump(entry, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{body}---\n"


def title(jobs: Sequence[JobFacts]) -> str:
    """What the data set is called: by its jobs."""
    names = list(dict.fromkeys(line(job.name, limit=60) or job.id for job in jobs))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def size_category(rows: int) -> str:
    """The hub's word for so many rows."""
    for place, below in enumerate(_SIZES):
        if rows < 1000 * 10**place:
            return f"n<{below}" if place == 0 else f"{_SIZES[place - 1]}<n<{below}"
    return f"n>{_SIZES[-1]}"


def data_files(index: Index, split: str, *, suffix: str) -> str:
    """The pattern that finds the files of one split and no other."""
    return _PATTERNS[index.format].format(split=split, suffix=suffix)


def _config(index: Index, suffix: str) -> dict[str, Any]:
    files = [{"split": split, "path": data_files(index, split, suffix=suffix)} for split in index.splits]
    plain = {"drop_labels": True} if index.format == "folder" else {}  # names of folders are no classes
    # `datasets` keeps what it read under a hash of this configuration, not of the files: without a word that changes
    # with them, an export that grew, or another one at the same place, would load as what was there before.
    said = f"content {index.content_hash[:16]}"
    return {"config_name": "default", "description": said, "data_files": files, **plain}


def _license(jobs: Sequence[JobFacts]) -> dict[str, str]:
    shared = agreed(models_of(jobs))
    if shared is not None:
        return {"license": shared}
    return {"license": "other", "license_name": "see-license-notes", "license_link": NOTES}


def _text_tags(jobs: Sequence[JobFacts]) -> list[str]:
    families = {model.family for job in jobs for model in job.models if model.kind == "checkpoint" and model.family}
    return sorted({job.mode for job in jobs} - set(_TASKS.values())) + sorted(
        family.removesuffix("Pipeline").lower() for family in families if re.fullmatch(r"[A-Za-z0-9]+", family)
    )
