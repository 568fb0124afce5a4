"""The card's part on how to load the data set: pieces of code that run as they stand. Pure."""

from collections.abc import Mapping
from typing import Final

from dispatcher.export.card.text.front import data_files
from dispatcher.export.index import Index

_TITLES: Final = {"datasets": "With `datasets`", "webdataset": "With `webdataset`", "plain": "Without a library",
                  "pandas": "The rows alone, with `pandas`"}  # fmt: skip


def loading(index: Index, *, suffix: str) -> str:
    """The section, with its headings.

    Args:
        index: Of the export.
        suffix: Of the pictures: png, jpg or webp.
    """
    parts = ["## How to load it", _INTRO if index.shards else _EMPTY]
    for name, piece in snippets(index, suffix=suffix).items():
        parts.append(f"{_TITLES[name]}:\n\n```python\n{piece}\n```")
    return "\n\n".join(parts)


_INTRO: Final = 'The code runs in this folder. From the hub: `load_dataset("owner/name", split=...)`.'

_EMPTY: Final = "No image is in the data set, so libraries of data sets find nothing to load."


def snippets(index: Index, *, suffix: str) -> Mapping[str, str]:
    """The pieces of code by what they use."""
    if not index.shards:
        return {"pandas": _PANDAS}
    split, column = next(iter(index.splits), "train"), "prompt" if index.says_prompts else "scheduler"
    found = {}
    if index.format in ("webdataset", "imagefolder", "parquet"):
        told = f'row["json"]["{column}"]' if index.format == "webdataset" else f'row["{column}"]'
        image = f'row["{suffix}"]' if index.format == "webdataset" else 'row["image"]'
        found["datasets"] = _DATASETS.format(split=split, image=image, told=told)
    if index.format == "webdataset":
        names = index.splits[split]["shards"]
        found["webdataset"] = _WEBDATASET.format(shards=_braces(names), suffix=suffix, column=column)
    if index.format == "folder":
        found["plain"] = _PLAIN.format(pattern=data_files(index, split, suffix=suffix))
    return {**found, "pandas": _PANDAS}


def _braces(names: list[str]) -> str:
    """The shards as webdataset lists them: "data/train-{000000..000003}.tar"."""
    if len(names) < 2:
        return names[0]
    first, last = names[0], names[-1]
    head, _, low = first.removesuffix(".tar").rpartition("-")
    return f"{head}-{{{low}..{last.removesuffix('.tar').rpartition('-')[2]}}}.tar"


_DATASETS: Final = """\
from pathlib import Path

from datasets import load_dataset

images = load_dataset(str(Path.cwd()), split="{split}")  # streaming=True reads it without a copy
row = images[0]
print({image}.size, {told})"""

_WEBDATASET: Final = """\
import webdataset as wds

images = wds.WebDataset("{shards}", shardshuffle=False).decode("pil")
row = next(iter(images))
print(row["{suffix}"].size, row["json"]["{column}"])"""

_PLAIN: Final = """\
from pathlib import Path

from PIL import Image

files = sorted(Path(".").glob("{pattern}"))
with Image.open(files[0]) as image:
    print(len(files), image.size)"""

_PANDAS: Final = """\
import pandas as pd

rows = pd.read_parquet("metadata")  # every image, rejected and failed ones included
exported = rows[rows.file_name.notna()]
print(exported.groupby("scheduler").size())"""
