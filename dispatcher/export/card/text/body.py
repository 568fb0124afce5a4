"""The whole of README.md from finished parts. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatcher.export.card.facts import JobFacts
from dispatcher.export.card.tallying import Tally
from dispatcher.export.card.text.escaping import cell, code, number, table
from dispatcher.export.card.text.front import front_matter, title
from dispatcher.export.card.text.loading import loading
from dispatcher.export.card.text.made import made
from dispatcher.export.card.text.outcome import outcome
from dispatcher.export.index import Index
from dispatcher.export.options import option_of
from dispatcher.provenance.columns import COLUMNS, LABEL_PREFIX, ROW_SCHEMA
from dispatcher.wording import human

SAMPLE: Final = "plots/sample.png"
_CONDITION: Final = 1000  # characters
_SHARDS: Final = 50  # rows of the table
_CLASSES: Final = 200  # likewise


def card(
    index: Index, jobs: Sequence[JobFacts], tally: Tally, *, suffix: str = "png",
    plots: Sequence[tuple[str, str]] = (), features: Sequence[Mapping[str, Any]] = (),
) -> str:  # fmt: skip
    """The text of README.md.

    Args:
        index: Of the export.
        jobs: That it was made of.
        tally: Counts over the rows of its tables.
        suffix: Of the pictures.
        plots: File names and what they show; the mosaic of images is shown first.
        features: Columns of a parquet export.
    """
    others = [(name, shows) for name, shows in plots if name != SAMPLE]
    parts = [f"# {cell(title(jobs), limit=200)}", _opening(index, jobs)]
    parts += [f"![{shows}]({name})" for name, shows in plots if name == SAMPLE]
    parts += [_shards(index), loading(index, suffix=suffix), made(jobs, tally), *_chosen(index)]
    parts += [outcome(jobs, tally, others)]
    parts += [_columns(index), _provenance(index, jobs), _limits(index)]
    return front_matter(index, jobs, suffix=suffix, features=features) + "\n" + "\n\n".join(parts) + "\n"


def _opening(index: Index, jobs: Sequence[JobFacts]) -> str:
    rows = sum(entry["rows"] for entry in index.splits.values())
    modes = ", ".join(sorted({job.mode for job in jobs}))
    models = sorted({cell(model.name) for job in jobs for model in job.models if model.kind == "checkpoint"})
    by = f" by {', '.join(models[:5])}" + (f" and {len(models) - 5} more models" if len(models) > 5 else "")
    what = "all that decided it: prompt, seed" if index.says_prompts else "what decided it beside the prompt: seed"
    pure = modes == "text-to-image"
    inputs = "model by its digest" if pure else "model and input images by their digests"
    end = " No photograph of the real world is among them." if pure else ""
    return (
        f"{number(rows)} synthetic images ({modes}), rendered{by if models else ''}. Each comes with {what}, sampler, "
        f"{inputs}, and the plan of the computation.{end}"
    )


def _shards(index: Index) -> str:
    """Splits, then shards of each."""
    sizes = {split: sum(index.shards[name].bytes for name in entry["shards"]) for split, entry in index.splits.items()}
    rows = [(code(split), number(entry["rows"]), number(len(entry["shards"])), human(sizes[split]))
            for split, entry in index.splits.items()]  # fmt: skip
    listed = [(code(name), number(shard.rows), human(shard.bytes), code(shard.sha256[:16]))
              for name, shard in sorted(index.shards.items())[:_SHARDS]]  # fmt: skip
    more = len(index.shards) - len(listed)
    parts = ["## Splits and shards", f"Format: `{index.format}`."]
    parts += [table(("split", "images", "shards", "size"), rows, right=3)]
    parts += [table(("shard", "images", "size", "SHA-256 begins"), listed)]
    parts += [f"{number(more)} more shards stand in `.farm/index.json`."] if more > 0 else []
    broken = sum(shard.broken for shard in index.shards.values())
    if broken:
        parts.append(f"{number(broken)} images were left out, since their files were lost or damaged.")
    return "\n\n".join([*parts, "`sha256sum -c SHA256SUMS` checks every file."])


def _chosen(index: Index) -> list[str]:
    """What the user of the export asked for, without which the numbers that follow would mislead."""
    said = {name: index.options[name] for name in _CHOOSING if name in index.options}
    if not said:
        return []
    if "where" in said and not index.says_prompts:  # it is a hash, and nobody's business
        said["where"] = None
    rows = [(code(option_of(name)), "*withheld*" if value is None else cell(_told(value), limit=_CONDITION))
            for name, value in said.items()]  # fmt: skip
    parts = ["## What was chosen", table(("option", "value"), rows)]
    return [*parts, _OTHERS] if "where" in said or "limit" in said else parts


_CHOOSING: Final = ("where", "limit", "without", "with_rejected", "split", "split_by", "size", "encode", "quality")
_OTHERS: Final = "Further images of the jobs are not in it, and the numbers below are not of them."


def _told(value: Any) -> str:
    return "yes" if value is True else ", ".join(value) if isinstance(value, list) else str(value)


def _columns(index: Index) -> str:
    rows = [(code(column.name), column.type, column.note) for column in COLUMNS]
    rows += [(code(LABEL_PREFIX + name), "string", f"label {cell(name)}") for name in index.labels]
    parts = ["## Columns", _COLUMNS, table(("column", "type", "note"), rows)]
    return "\n\n".join([*parts, *_classes(index)])


def _classes(index: Index) -> list[str]:
    """What the numbers in `cls` mean."""
    if not index.classes:
        return []
    column = str(index.options.get("cls"))
    rows = [(str(place), cell(name)) for place, name in enumerate(index.classes[:_CLASSES])]
    more = len(index.classes) - len(rows)
    parts = [f"`cls` is {code(column)} as a number:", table(("cls", cell(column)), rows)]
    return [*parts, *([f"{number(more)} more stand in `.farm/index.json`."] if more > 0 else [])]


_COLUMNS: Final = (
    f"Rows of `metadata/*.parquet`, schema {ROW_SCHEMA}: one for each image of the set, and in `metadata/rejected-*` "
    "one for each that is not in it. Which worker made an image, and when, is not told: the same recipe has the same "
    "row."
)


def _provenance(index: Index, jobs: Sequence[JobFacts]) -> str:
    options = index.options
    said = {str(job.output.get("metadata", "full")) for job in jobs}
    levels = {str(options["metadata"])} if options.get("metadata") else said
    marks = {**_MARKS, **({} if index.says_prompts else {"full": _FULL_WITHOUT})}
    parts = ["## Marks in the files", *(marks[level] for level in ("full", "minimal", "none") if level in levels)]
    if not index.says_prompts:
        parts.append(_NO_PROMPTS)
    if options.get("certificate"):
        parts.append("Each file is signed with C2PA content credentials.")
    return "\n\n".join(parts)


_MARKS: Final = {
    "full": (
        "Pictures carry their provenance as JSON (recipe, plan, digests of models), the `parameters` text that A1111 "
        "and tools like it read, and XMP with the IPTC `DigitalSourceType` that says that a model made them."
    ),
    "minimal": "Pictures carry XMP with the IPTC `DigitalSourceType` that says that a model made them, and no recipe.",
    "none": "Pictures carry no marks; that a model made them stands in this card and in `croissant.json`.",
}
_FULL_WITHOUT: Final = (
    "Pictures carry their provenance as JSON (recipe without prompts, plan, digests of models) and XMP with the IPTC "
    "`DigitalSourceType` that says that a model made them."
)
_NO_PROMPTS: Final = (
    "Prompts are withheld: neither the pictures nor the tables nor this card say them, and columns of prompts are "
    "empty. `recipe_hash` is that of the whole recipe, prompts included."
)


def _limits(index: Index) -> str:
    copied = [_COPY] if index.says_prompts else []
    return "\n".join(["## Limits\n", _MODELS, *copied, _LIMITS])


_MODELS: Final = (
    "- The images are what models make of words: they are no evidence of the world, and carry the models' biases."
)
_COPY: Final = """\
- The A1111 `parameters` text is a copy for convenience and loses something: line ends, options that it \
has no word for. The record is the JSON beside it and the row in the table."""
_LIMITS: Final = """\
- An image can be rendered again pixel for pixel only under the same plan, on the same kind of device, with the same \
library versions. Elsewhere it comes out alike.
- Rejection rates tell of the rules above, not of how good the images are.
- Licences: see [LICENSE-NOTES.md](LICENSE-NOTES.md)."""
