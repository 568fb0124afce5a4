"""Prompts into the embeddings that a pipeline call takes, for CLIP text encoders.

It exists for what diffusers' own encoding does not do: weights, prompts of more than 77 tokens, and `clip_skip` on
Stable Diffusion with transformers 5, whose CLIPTextModel has no `text_model` any more (huggingface/diffusers#14124).
Where none of that is asked, the result is bit-equal to diffusers', oddities included: `clip_skip` skips layers for the
prompt and not for the negative prompt, and SDXL ignores `negative_prompt_2` where `negative_prompt` is absent.

An image's embeddings must not depend on its company. So the encoder always runs on one window of every recipe at a
time, (n, 77) whatever the prompts, and recipes with different numbers of windows cannot share a batch.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from diffusers.utils.torch_utils import get_module_execution_device
from torch import Tensor

from worker.diffusion.prompts.readers import NEGATIVE, PROMPT, Reader, is_encodable, is_xl, readers
from worker.diffusion.prompts.tokens import Window, window_count, windows_of
from worker.renderer import Recipe

_NOISE: Final = 1e-4  # of the mean magnitude; half precision's rounding leaves about 2e-6 in the mean of a window


class _Encoded(NamedTuple):
    hidden: Tensor  # (n, tokens, width)
    pooled: Tensor | None  # (n, width), SDXL


def needs_encoding(recipe: Recipe, pipe: Any) -> bool:
    """Whether diffusers cannot encode a recipe's prompts as it asks, and `encode` must."""
    if not is_encodable(pipe):
        return False
    return (
        recipe.get("weighting") == "a1111"
        or ("clip_skip" in recipe and not is_xl(pipe))
        or window_count(recipe, pipe) > 1
    )


@torch.inference_mode()
def encode(pipe: Any, recipes: Sequence[Recipe]) -> dict[str, Tensor]:
    """Encode the prompts of a batch.

    Args:
        pipe: An encodable pipeline; adapters and textual inversions that count are on.
        recipes: Of one batch, n of them: the same weighting, long_prompts, clip_skip and number of windows k. Which
            have a negative prompt and which have none may differ.

    Returns:
        Arguments of the pipeline call: prompt_embeds and negative_prompt_embeds, (n, 77 k, width), and for SDXL
        pooled_prompt_embeds and negative_pooled_prompt_embeds, (n, width), from the first window.

    Raises:
        ValueError: The recipes differ in their number of windows.
    """
    counts = {window_count(recipe, pipe) for recipe in recipes}
    if len(counts) != 1:
        raise ValueError(f"prompts of {sorted(counts)} windows cannot share a batch")
    (count,) = counts
    prompt = _side(pipe, recipes, side=PROMPT, count=count)
    negative = _negative(pipe, recipes, prompt=prompt, count=count)
    made = {"prompt_embeds": prompt.hidden, "negative_prompt_embeds": negative.hidden}
    if prompt.pooled is not None and negative.pooled is not None:
        made |= {"pooled_prompt_embeds": prompt.pooled, "negative_pooled_prompt_embeds": negative.pooled}
    return made


def _negative(pipe: Any, recipes: Sequence[Recipe], *, prompt: _Encoded, count: int) -> _Encoded:
    """The negative side; zeros instead of an absent prompt where the pipeline is made so."""
    zeros = is_xl(pipe) and bool(pipe.config.force_zeros_for_empty_prompt)
    silent = [zeros and NEGATIVE not in recipe for recipe in recipes]
    if all(silent):
        return _Encoded(
            torch.zeros_like(prompt.hidden), None if prompt.pooled is None else torch.zeros_like(prompt.pooled)
        )
    made = _side(pipe, recipes, side=NEGATIVE, count=count)
    for row in (row for row, is_silent in enumerate(silent) if is_silent):
        made.hidden[row] = 0
        if made.pooled is not None:
            made.pooled[row] = 0
    return made


def _side(pipe: Any, recipes: Sequence[Recipe], *, side: str, count: int) -> _Encoded:
    """One side of a batch through every reader; their embeddings stand side by side."""
    skip = recipes[0].get("clip_skip", 0) if side == PROMPT else 0
    parts: list[Tensor] = []
    pooled: Tensor | None = None
    for reader in readers(pipe):
        rows = [windows_of(recipe, pipe, reader=reader, side=side, count=count) for recipe in recipes]
        run = _run_xl if is_xl(pipe) else _run
        states = [run(reader, column, skip=skip) for column in zip(*rows, strict=True)]
        parts.append(torch.cat([state.hidden for state in states], dim=1))
        pooled = states[0].pooled if pooled is None else pooled
    like = readers(pipe)[-1].encoder
    hidden = torch.cat(parts, dim=-1).to(dtype=like.dtype, device=pipe._execution_device)
    return _Encoded(hidden, pooled)


def _run(reader: Reader, windows: Sequence[Window], *, skip: int) -> _Encoded:
    """Stable Diffusion 1 and 2: the last layer, or the one `skip` before it, through the final norm either way."""
    ids = _tensor(reader, [window.ids for window in windows])
    mask = None
    if getattr(reader.encoder.config, "use_attention_mask", False):
        mask = _tensor(reader, [[int(place < window.length) for place in range(len(window.ids))] for window in windows])
    if not skip:
        hidden = reader.encoder(ids, attention_mask=mask)[0]
    else:
        layers = reader.encoder(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        hidden = getattr(reader.encoder, "text_model", reader.encoder).final_layer_norm(layers[-(skip + 1)])
    return _Encoded(_emphasised(hidden, windows), None)


def _run_xl(reader: Reader, windows: Sequence[Window], *, skip: int) -> _Encoded:
    """SDXL: the layer before the last, or the one `skip` before that, without the norm."""
    out = reader.encoder(_tensor(reader, [window.ids for window in windows]), output_hidden_states=True)
    pooled = out[0] if out[0].ndim == 2 else None  # only the encoder with a projection has it
    return _Encoded(_emphasised(out.hidden_states[-(skip + 2)], windows), pooled)


def _tensor(reader: Reader, rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.long).to(get_module_execution_device(reader.encoder))


def _emphasised(hidden: Tensor, windows: Sequence[Window]) -> Tensor:
    """Multiply every token's embedding by its weight, then bring each window back to the mean it had.

    That is "Original", the default emphasis of AUTOMATIC1111/stable-diffusion-webui (`modules/sd_emphasis.py`); there
    the mean is over the batch, here over one window of one prompt, so that no prompt changes another. A mean that is
    rounding noise beside its values, as of an untrained encoder, is left alone: the quotient would be any number.
    Weights of 1 change no bit.
    """
    if all(weight == 1.0 for window in windows for weight in window.weights):
        return hidden
    exact = hidden.float()
    weights = torch.tensor([window.weights for window in windows], dtype=torch.float32, device=hidden.device)
    weighed = exact * weights.unsqueeze(-1)
    before, after = (each.mean(dim=(1, 2), keepdim=True) for each in (exact, weighed))
    floor = _NOISE * exact.abs().mean(dim=(1, 2), keepdim=True)
    ratio = torch.where((before.abs() > floor) & (after.abs() > floor), before / after, torch.ones_like(after))
    return (weighed * ratio).to(hidden.dtype)
