"""What a picture's file says of itself, in our own JSON: the record that everything else is a courtesy copy of.

It holds how the picture came to be and nothing of worker, attempt or time, so that making it again gives the same
bytes. A reader knows it by `schema`:

    1   recipe, plan, libraries (files from before there were levels)
    2   level, recipe_hash; at level full also prompts, recipe, models, plan, libraries, encoding, software

With `prompts: false` the recipe lacks what tells a prompt, and `recipe_hash` is still that of the whole recipe: whoever
has the job can match the file to it, and so can whoever guesses the prompt to the letter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

import PIL

from storage.spec.canonical import canonical, digest
from storage.spec.encoding import Encoding
from storage.spec.fields import MODEL_KEYS
from storage.spec.recipe import without_prompts

RECORD_SCHEMA: Final = 2
SOFTWARE: Final = "Seedfarm"
Level = Literal["full", "minimal", "none"]
FULL, MINIMAL, NONE = "full", "minimal", "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """Everything that the marks of one file are made from."""

    recipe: Mapping[str, Any]
    plan: Mapping[str, Any]
    libraries: Mapping[str, str]  # name -> version
    level: Level = "full"
    prompts: bool = True  # whether the file discloses them
    edits: Mapping[str, Any] = field(default_factory=dict)  # done to the picture since, such as {"size": [256, 256]}

    @property
    def discloses(self) -> bool:
        """Whether prompts stand in the file."""
        return self.level == FULL and self.prompts


@cache
def software_version() -> str:
    """The version of this package; "0" where it runs without being installed."""
    try:
        return version("seedfarm")
    except PackageNotFoundError:
        return "0"


def record_of(marks: Marks, encoding: Encoding) -> dict[str, Any] | None:
    """The record of a file; None at level none."""
    if marks.level == NONE:
        return None
    said: dict[str, Any] = {
        "schema": RECORD_SCHEMA, "level": marks.level, "recipe_hash": digest(dict(marks.recipe)),
    }  # fmt: skip
    if marks.level == MINIMAL:
        return said
    said |= {
        "prompts": marks.prompts, "recipe": _disclosed(marks), "models": models_in(marks.recipe),
        "plan": dict(marks.plan), "libraries": {**marks.libraries, "pillow": PIL.__version__},
        "encoding": encoding.to_json(), "software": f"{SOFTWARE} {software_version()}",
    }  # fmt: skip
    return {**said, "edits": dict(marks.edits)} if marks.edits else said


def spell(record: Mapping[str, Any]) -> str:
    """A record as text, in its one spelling."""
    return canonical(dict(record)).decode()


def models_in(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The digests of what a recipe renders with, by recipe key; a list of them for keys that take several."""
    found = {key: recipe[key] for key in (*MODEL_KEYS, "safety_checker") if recipe.get(key)}
    return {
        key: [entry["model"] for entry in value] if isinstance(value, list | tuple) else value
        for key, value in found.items()
    }


def _disclosed(marks: Marks) -> dict[str, Any]:
    return dict(marks.recipe) if marks.prompts else without_prompts(marks.recipe)
