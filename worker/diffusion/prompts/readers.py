"""Who reads the prompt of a pipeline: pairs of a tokenizer and a text encoder, and the key that each pair reads."""

from dataclasses import dataclass
from typing import Any, Final

from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from worker.renderer import Recipe

PROMPT: Final = "prompt"
NEGATIVE: Final = "negative_prompt"
_SUFFIXES: Final = ("", "_2", "_3", "_4")


@dataclass(frozen=True, slots=True)
class Reader:
    """A tokenizer with its text encoder. `suffix` names its prompt: "" for prompt, "_2" for prompt_2, and so on."""

    tokenizer: Any
    encoder: Any
    suffix: str

    @property
    def is_clip(self) -> bool:
        """Whether it reads windows of a fixed length and cuts what is longer."""
        return isinstance(self.tokenizer, CLIPTokenizer)

    def text(self, recipe: Recipe, side: str) -> str:
        """What it reads. `side` is PROMPT or NEGATIVE; a prompt of its own that is absent is the first one."""
        return str(recipe.get(f"{side}{self.suffix}", recipe.get(side, "")))

    def spell(self, pipe: Any, text: str) -> list[int]:
        """The tokens of a text without the start and end signs, textual inversions of the pipeline included."""
        if hasattr(pipe, "maybe_convert_prompt"):
            text = pipe.maybe_convert_prompt(text, self.tokenizer)
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def readers(pipe: Any) -> list[Reader]:
    """The readers of a pipeline that are there, in order; none for one that takes no text.

    They count from the first that is there: SDXL's refiner has only a second text encoder, which reads `prompt`.
    """
    pairs = [(getattr(pipe, f"tokenizer{end}", None), getattr(pipe, f"text_encoder{end}", None)) for end in _SUFFIXES]
    there = [(tokenizer, encoder) for tokenizer, encoder in pairs if tokenizer is not None and encoder is not None]
    return [Reader(*pair, suffix) for pair, suffix in zip(there, _SUFFIXES, strict=False)]


def is_encodable(pipe: Any) -> bool:
    """Whether this package can encode for a pipeline: Stable Diffusion 1 and 2, SDXL and its refiner, and their kin."""
    found = readers(pipe)
    return (
        getattr(pipe, "unet", None) is not None
        and 0 < len(found) <= 2
        and all(one.is_clip and isinstance(one.encoder, CLIPTextModel | CLIPTextModelWithProjection) for one in found)
    )


def is_xl(pipe: Any) -> bool:
    """Whether an encodable pipeline is of SDXL's family: penultimate layers side by side, and a pooled vector."""
    return getattr(pipe, "text_encoder_2", None) is not None
