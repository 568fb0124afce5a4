"""`--no-prompts`: a data set of which no file says a prompt.

Withheld are the texts themselves, templates, the words that a template was filled with (labels of its names), tokens of
embeddings, options of callbacks, what a message of a failed image may quote, and the name of a job that is the
beginning of a prompt, as that of a job without a file is. Labels of rows stay, since a user named each of them; one
that holds a whole prompt of its row goes too.

Hashes stay: they join the data set to the farm. Who guesses a recipe to the letter can confirm it by its hash.
"""

import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from dispatcher.export.options import ExportOptions
from dispatcher.export.sources import Source
from dispatcher.provenance.columns import LABEL_PREFIX
from storage.errors import InvalidSpec
from storage.spec import Job, canonical
from storage.spec.dimension import Factor, Table, Template, leaves
from storage.spec.fields import PROMPT_KEYS
from storage.spec.part import pieces_of
from storage.spec.recipe import TELLING_KEYS, without_prompts

COLUMNS: Final = ("prompt", "negative_prompt", "prompt_template")
_QUOTING: Final = "detail"  # a message of a failed image
_READ: Final = 1000  # texts of a template that a job's name is held against
_RULE: Final = "says prompts, which --no-prompts withholds; name something else, or leave --no-prompts out"


@dataclass(frozen=True, slots=True)
class Withheld:
    """What the rows of an export must not say."""

    labels: frozenset[str]

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A flat row without it: null, or JSON that lacks those keys."""
        hidden: dict[str, Any] = dict.fromkeys((*COLUMNS, _QUOTING))
        hidden |= {"options": _without(row["options"], TELLING_KEYS), "recipe": _untold(row["recipe"])}
        hidden |= {"labels": _without(row["labels"], self.labels)}
        hidden |= {name: None for label in self.labels if (name := LABEL_PREFIX + label) in row}
        return {**row, **hidden}


def withheld_of(sources: Sequence[Source]) -> Withheld:
    """What is withheld of some jobs; a label is withheld of all of them or of none."""
    return Withheld(frozenset(name for source in sources for name in _telling_labels(source.job)))


def unnamed(source: Source) -> Source:
    """A job by its id alone if its name tells a prompt."""
    name = _words(source.row.name)
    for text in map(_words, _prompts(source.job)):
        if text and (text.startswith(name) or f" {text} " in f" {name} "):
            return replace(source, row=replace(source.row, name=source.row.id))
    return source


def check_withheld(options: ExportOptions, labels: Iterable[str]) -> None:
    """Refuse options that put prompts into files.

    Args:
        options: Of an export without prompts.
        labels: That are withheld.

    Raises:
        InvalidSpec: One of them names what is withheld.
    """
    withheld = {*COLUMNS, *labels} | {prefix + name for name in labels for prefix in ("label.", LABEL_PREFIX)}
    for option, column in (("--caption", options.caption), ("--cls", options.cls)):
        if column in withheld:
            raise InvalidSpec(option, column, _RULE)
    if options.captions and options.caption is None:
        raise InvalidSpec("--captions", None, "would write empty texts with --no-prompts; add --caption COLUMN")
    named = set(_fields(options.name or "")) & {*TELLING_KEYS, *withheld}
    if named:
        raise InvalidSpec("--name", options.name, f"{{{min(named)}}} {_RULE}")


def _telling_labels(job: Job) -> Iterator[str]:
    fixed = [str(text) for key, text in job.spec.fixed.items() if key in PROMPT_KEYS and text]
    for leaf in _leaves(job):
        match leaf:
            case Template():
                yield from leaf.names
            case Table(template=str()):
                yield from leaf.labels
            case Table():
                yield from _telling_columns(leaf, fixed)


def _telling_columns(table: Table, fixed: Sequence[str]) -> Iterator[str]:
    """Labels of a table of which some text holds a whole prompt."""
    width = len(table.keys_)
    prompts = [place for place, key in enumerate(table.keys_) if key in PROMPT_KEYS]
    for place, name in enumerate(table.labels, start=width):
        if any(_holds(row[place], [*fixed, *(row[prompt] for prompt in prompts)]) for row in table.rows):
            yield name


def _holds(text: str, prompts: Iterable[str | None]) -> bool:
    plain = _plain(text)
    return any(known in plain for known in (_plain(prompt) for prompt in prompts if prompt) if known)


def _prompts(job: Job) -> Iterator[str]:
    """The prompts of a job and their templates; of a large template the first texts."""
    values = [job.spec.fixed.get(key) for key in PROMPT_KEYS]
    for leaf in _leaves(job):
        keys = [key for key in leaf.keys if key in PROMPT_KEYS]
        places = range(len(leaf)) if keys else range(0)
        if isinstance(leaf, Template):
            values.append(leaf.template)
            places = places[:_READ]
        bindings = map(leaf.at, places)
        yield from (str(text) for binding in bindings for key in keys if (text := binding.values[key]) is not None)
    yield from (str(text) for text in values if text is not None)


def _leaves(job: Job) -> Iterator[Factor]:
    """Every factor that binds keys itself, those of extensions too."""
    return leaves(list(chain.from_iterable(pieces_of(job.spec.dimensions, job.spec.parts))))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _words(text: str) -> str:
    """A text as a job's name may spell it, which holds no blanks and no letters beyond ASCII."""
    return " ".join(re.findall("[a-z0-9]+", text.lower()))


def _fields(pattern: str) -> Iterator[str]:
    """The names in a pattern of file names, those within formats of others too. A broken pattern has none."""
    try:
        for _, field, spec, _ in string.Formatter().parse(pattern):
            if field is not None:
                yield field.split(".")[0].split("[")[0]
                yield from _fields(spec or "")
    except ValueError:  # told where the first name is made
        return


def _untold(text: str | None) -> str | None:
    """A recipe as JSON that tells no prompt."""
    return None if text is None else canonical(without_prompts(json.loads(text))).decode()


def _without(text: str | None, names: Iterable[str]) -> str | None:
    """A JSON object without some keys."""
    if text is None:
        return None
    hidden = set(names)
    return canonical({name: value for name, value in json.loads(text).items() if name not in hidden}).decode()
