"""A prompt as windows of tokens, each of the length that a CLIP text encoder takes.

A window is the start sign, up to 75 tokens, the end sign, padding. A prompt is cut after every 75th token wherever that
falls, within a word or a textual inversion too; the web UI's moving of a cut to the last comma is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.spec.prompt_syntax import Piece, parse
from worker.diffusion.prompts.readers import NEGATIVE, PROMPT, Reader, is_encodable, readers
from worker.renderer import Recipe

_Weighed = tuple[int, float]  # token, weight


@dataclass(frozen=True, slots=True)
class Window:
    """One call's worth of tokens."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]  # as long; 1 for the start and end signs and the padding
    length: int  # without the padding


def sections(recipe: Recipe, text: str) -> list[list[Piece]]:
    """A prompt as its recipe's `weighting` reads it."""
    return parse(text) if recipe.get("weighting") == "a1111" else [[Piece(text)]]


def is_chunked(recipe: Recipe) -> bool:
    """Whether prompts longer than a window go on in further ones."""
    return recipe.get("long_prompts") == "chunk"


def room(reader: Reader) -> int:
    """Tokens of text that fit into one window of a CLIP reader."""
    return int(reader.tokenizer.model_max_length) - 2


def window_count(recipe: Recipe, pipe: Any) -> int:
    """How many windows a picture's prompts need: the most of any, since all must be of one length."""
    if not is_chunked(recipe) or not is_encodable(pipe):
        return 1
    return max(
        len(windows_of(recipe, pipe, reader=reader, side=side))
        for reader in readers(pipe)
        for side in (PROMPT, NEGATIVE)
    )


def windows_of(recipe: Recipe, pipe: Any, *, reader: Reader, side: str, count: int = 1) -> list[Window]:
    """The windows of one prompt for one reader, at least `count`; empty ones fill up.

    A recipe that does not chunk has one, cut after its last place.
    """
    size = room(reader)
    runs: list[list[_Weighed]] = []
    for section in sections(recipe, reader.text(recipe, side)):
        tokens = [(token, piece.weight) for piece in section for token in reader.spell(pipe, piece.text)]
        runs.append(tokens[:size])
        runs += [tokens[start : start + size] for start in range(size, len(tokens), size)]
    if len(runs) > 1 and not runs[-1]:
        runs.pop()  # nothing after the last BREAK
    kept = runs if is_chunked(recipe) else runs[:1]
    kept += [[] for _ in range(count - len(kept))]
    return [_window(reader.tokenizer, run, size) for run in kept]


def _window(tokenizer: Any, run: Sequence[_Weighed], size: int) -> Window:
    padding = size - len(run)
    ids = [token for token, _ in run]
    return Window(
        ids=(tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding),
        weights=(1.0, *[weight for _, weight in run], 1.0, *[1.0] * padding),
        length=len(run) + 2,
    )
