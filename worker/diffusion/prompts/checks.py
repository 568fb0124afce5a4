"""What can be said of a recipe's prompts before it is rendered: their length, and what no encoder here can do."""

import inspect
from typing import Any, Final

from worker.diffusion.prompts.readers import NEGATIVE, PROMPT, Reader, is_encodable, is_xl, readers
from worker.diffusion.prompts.tokens import is_chunked, room, sections
from worker.renderer import Recipe

_UNLIMITED: Final = 10**6  # tokens; a tokenizer without a limit says 10**30


def token_count(pipe: Any, text: str) -> int:
    """Tokens of a text as it stands, without start and end signs, to the tokenizer that needs most; 0 without any."""
    return max((len(reader.spell(pipe, text)) for reader in readers(pipe)), default=0)


def excess(pipe: Any, recipe: Recipe) -> tuple[int, int] | None:
    """The prompt of a recipe that is cut the most.

    A text is cut where none of the encoders that read it takes all of it: Stable Diffusion 3 and Flux show their prompt
    to CLIP and to T5, and what CLIP does not see, T5 does. What CLIP takes is in its tokenizer; the limit of another
    encoder is the recipe's `max_sequence_length` or else the default of the pipeline call, for the prompt without
    what a chat template adds. Prompts that are chunked are never cut.

    Returns:
        Tokens of that prompt and the most that fit, both without start and end signs and without weight syntax;
        None where nothing is cut.
    """
    if is_chunked(recipe) and is_encodable(pipe):
        return None
    cuts = [cut for side in (PROMPT, NEGATIVE) for cut in _cuts(pipe, recipe, side)]
    return max(cuts, key=lambda cut: cut[0] - cut[1], default=None)


def truncated(pipe: Any, recipe: Recipe) -> bool:
    """Whether a picture is made from less than its prompts say."""
    return excess(pipe, recipe) is not None


def refusal(pipe: Any, recipe: Recipe) -> tuple[str, str] | None:
    """What a recipe asks of its prompts that this pipeline cannot do.

    Returns:
        The key and what is wrong with its next step, or None. The length of prompts is `excess`'s matter.
    """
    if not is_encodable(pipe):
        return _foreign(pipe, recipe)
    if recipe.get("weighting") == "a1111" and not is_chunked(recipe):
        for side in (PROMPT, NEGATIVE):
            for reader in readers(pipe):
                if len(sections(recipe, reader.text(recipe, side))) > 1:
                    key = f"{side}{reader.suffix}" if f"{side}{reader.suffix}" in recipe else side
                    return key, "BREAK starts a new window; set long_prompts: chunk, or take it out"
    layers = min(int(reader.encoder.config.num_hidden_layers) for reader in readers(pipe)) - is_xl(pipe)
    if recipe.get("clip_skip", 0) > layers:
        return "clip_skip", f"this model's text encoder lets at most {layers} layers be skipped"
    return None


def _foreign(pipe: Any, recipe: Recipe) -> tuple[str, str] | None:
    name = type(pipe).__name__
    for key, value, instead in (("weighting", "a1111", "none"), ("long_prompts", "chunk", "truncate or refuse")):
        if recipe.get(key) == value:
            return key, f"{value} is for Stable Diffusion 1, 2 and XL, not for {name}; use {instead}"
    clips = [int(reader.encoder.config.num_hidden_layers) - 1 for reader in readers(pipe) if reader.is_clip]
    if clips and recipe.get("clip_skip", 0) > min(clips):
        return "clip_skip", f"this model's text encoders let at most {min(clips)} layers be skipped"
    return None


def _cuts(pipe: Any, recipe: Recipe, side: str) -> list[tuple[int, int]]:
    by_text: dict[str, list[Reader]] = {}
    for reader in readers(pipe):
        by_text.setdefault(reader.text(recipe, side), []).append(reader)
    cuts = []
    for text, those in by_text.items():
        pieces = [piece.text for section in sections(recipe, text) for piece in section]
        found = [(sum(len(one.spell(pipe, piece)) for piece in pieces), _limit(pipe, recipe, one)) for one in those]
        if all(tokens > limit for tokens, limit in found):
            cuts.append(max(found, key=lambda cut: cut[1]))
    return cuts


def _limit(pipe: Any, recipe: Recipe, reader: Reader) -> int:
    """Tokens of text that a reader takes."""
    if reader.is_clip:
        return room(reader)
    default = inspect.signature(type(pipe).__call__).parameters.get("max_sequence_length")
    limit = recipe.get("max_sequence_length", None if default is None else default.default)
    if not isinstance(limit, int):
        limit = reader.tokenizer.model_max_length
    return int(limit) - reader.tokenizer.num_special_tokens_to_add() if limit < _UNLIMITED else _UNLIMITED
