"""What a job says between the lines: refused where it cannot work, noted where it may be a mistake.

Of prompts it looks at the words of a job file (a template and its lists), not at every text that they make.
"""

from collections.abc import Iterator
from typing import Final

from storage.errors import InvalidSpec, shorten
from storage.spec.dimension import Factor, Table, Template, Values, leaves
from storage.spec.fields import PROMPT_KEYS
from storage.spec.job import Spec
from storage.spec.prompt_syntax import find_lora_tags, has_weights
from storage.spec.quality import most_of_a_cell

WEIGHTED: Final = "a1111"


def notes(spec: Spec) -> list[str]:
    """What may be a mistake and is none for sure, a sentence each."""
    said = [_unread_weights(spec), _quota_out_of_reach(spec)]
    return [note for note in said if note is not None]


def check_prompts(spec: Spec) -> None:
    """Refuse LoRAs that are named in a prompt, as other tools do. Raises InvalidSpec with the key that does it."""
    for key, text in _texts(spec):
        for tag in find_lora_tags(text) if "<lora:" in text else ():
            wanted = f"loras: [{{model: {tag.name}, scale: {tag.scale:g}}}]"
            raise InvalidSpec(key, tag.text, f"LoRAs are not named in prompts; take it out and write {wanted}")


def _unread_weights(spec: Spec) -> str | None:
    if spec.fixed.get("weighting") != "none":  # weighed, or compared with and without
        return None
    weighted = {text for _, text in _texts(spec) if ("(" in text or "[" in text) and has_weights(text)}
    if not weighted:
        return None
    one = len(weighted) == 1
    return (
        f"{len(weighted)} prompt{' weighs' if one else 's weigh'} words, such as {shorten(min(weighted))}; "
        f"the brackets are read as text unless the job says weighting: {WEIGHTED}"
    )


def _quota_out_of_reach(spec: Spec) -> str | None:
    most, accept = most_of_a_cell(spec), (spec.quality or {}).get("accept", 0)
    if most is None or accept <= most:
        return None
    return (
        f"quality.accept = {accept} cannot be reached: the job declares at most {most} of a cell, and only what is "
        "rejected gets another seed; declare more images, such as more seeds"
    )


def _texts(spec: Spec) -> Iterator[tuple[str, str]]:
    """Every text of a prompt key as the job file has it, with its key."""
    for key in PROMPT_KEYS:
        if spec.fixed.get(key) is not None:
            yield key, spec.fixed[key]
    for leaf in leaves([*spec.dimensions, *(part.adds for part in spec.parts)]):
        yield from _texts_of(leaf)


def _texts_of(dimension: Factor) -> Iterator[tuple[str, str]]:
    match dimension:
        case Template():
            yield dimension.key, dimension.template
            yield from ((dimension.key, word) for words in dimension.values for word in words)
        case Values() if dimension.key in PROMPT_KEYS:
            yield from ((dimension.key, text) for text in dimension.values if text is not None)
        case Table():
            columns = [place for place, key in enumerate(dimension.keys) if key in PROMPT_KEYS]
            for row in dimension.rows:
                yield from ((dimension.keys[place], row[place]) for place in columns if row[place] is not None)
