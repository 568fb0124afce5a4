"""What diffusers has no argument for, written with what it has: callbacks, and embeddings made by hand."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.callbacks import (
    IPAdapterScaleCutoffCallback,
    MultiPipelineCallbacks,
    SD3CFGCutoffCallback,
    SDCFGCutoffCallback,
    SDXLCFGCutoffCallback,
    SDXLControlnetCFGCutoffCallback,
)
from PIL import Image
from torch import Tensor

from renderer_plain import Models, Plain, Values, call, load

Tensors = dict[str, Tensor]
WINDOW = 75  # tokens between the two marks
_WEIGHED = re.compile(r"\((\w+):([0-9.]+)\)")


class Fade:
    """A callback as an operator would install it: every step's latents are multiplied by `factor`."""

    def __init__(self, factor: float = 0.9) -> None:
        self._factor = factor

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: Tensors) -> Tensors:
        return {"latents": tensors["latents"] * self._factor}


class Hush:
    """One that wants the prompt's embeddings, and halves them after the first step."""

    tensor_inputs = ("latents", "prompt_embeds")

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: Tensors) -> Tensors:
        return {"prompt_embeds": tensors["prompt_embeds"] * 0.5} if step == 0 else {}


class Flood:
    """One that multiplies the latents of the last image after the last step."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def __call__(self, pipe: Any, step: int, timestep: Any, tensors: Tensors) -> Tensors:
        latents = tensors["latents"].clone()
        latents[-1] *= self._factor if step == pipe.num_timesteps - 1 else 1.0
        return {"latents": latents}


def with_callback(callback: Any, *inputs: str) -> Plain:
    """A call with that callback."""

    def draw(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
        pipe = load(models, mode, rows[0])
        hook = {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": ["latents", *inputs]}
        return list(pipe(**call(models, pipe, mode, rows), **hook).images)

    return draw


def diffusers_cutoff(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
    """diffusers' own callbacks, which keep one row and so take one image a call; they count the step before."""
    first = rows[0]
    pipe = load(models, mode, first)
    said = call(models, pipe, mode, rows)
    kind = {"sd3": SD3CFGCutoffCallback, "sdxl": SDXLCFGCutoffCallback}.get(first["model"], SDCFGCutoffCallback)
    if kind is SDXLCFGCutoffCallback and "controlnet" in first:
        kind = SDXLControlnetCFGCutoffCallback
    hooks = []
    if "cfg_cutoff" in first:
        hooks.append(kind(cutoff_step_ratio=None, cutoff_step_index=_last_guided(first["cfg_cutoff"], first["steps"])))
    if "ip_adapter_cutoff" in first:
        last = _last_guided({"ratio": first["ip_adapter_cutoff"]}, first["steps"])
        hooks.append(IPAdapterScaleCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=last))
    return list(pipe(**said, callback_on_step_end=MultiPipelineCallbacks(hooks)).images)


def half_cutoff(*inputs: str) -> Plain:
    """A callback for a whole batch: of each tensor with two halves the conditional one stays."""

    def draw(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
        last = _last_guided(rows[0]["cfg_cutoff"], rows[0]["steps"])

        def cut(pipe: Any, step: int, timestep: Any, tensors: Tensors) -> Tensors:
            if step != last:
                return {}
            pipe._guidance_scale = 0.0
            return {name: tensors[name].chunk(2)[1] for name in inputs}

        return with_callback(cut, *inputs)(models, mode, rows)

    return draw


def scales(*each: float) -> Plain:
    """A callback that sets the scale of each step; the first is the call's."""

    def follow(pipe: Any, step: int, timestep: Any, tensors: Tensors) -> Tensors:
        pipe._guidance_scale = each[min(step + 1, len(each) - 1)]
        return {}

    def draw(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
        return with_callback(follow)(models, mode, [{**row, "guidance_scale": each[0]} for row in rows])

    return draw


def embedded(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
    """Stable Diffusion with embeddings made by hand, for layers skipped, weighed words and long prompts."""
    pipe = load(models, mode, rows[0])
    said = call(models, pipe, mode, rows)
    for name in ("prompt", "negative_prompt", "clip_skip"):
        said.pop(name, None)
    windows = max(_windows(pipe, row["prompt"]) for row in rows) if rows[0].get("long_prompts") == "chunk" else 1
    positive = [[_words(row["prompt"]) for row in rows], [_weights(row["prompt"]) for row in rows]]
    negative = [row.get("negative_prompt") or "" for row in rows]
    said["prompt_embeds"] = _embeddings(pipe, *positive, windows=windows, skip=rows[0].get("clip_skip", 0))
    said["negative_prompt_embeds"] = _embeddings(pipe, negative, [{} for _ in rows], windows=windows, skip=0)
    return list(pipe(**said).images)


def _last_guided(cutoff: Mapping[str, Any], steps: int) -> int:
    """The step that diffusers' callbacks are told, the first being 0."""
    if "step" in cutoff:
        return int(cutoff["step"]) - 1
    return next(step for step in range(steps) if (step + 1) / steps >= cutoff["ratio"])


def _windows(pipe: Any, text: str) -> int:
    return -(-len(pipe.tokenizer(text, add_special_tokens=False).input_ids) // WINDOW)


def _words(text: str) -> str:
    """A prompt in which at most one word is weighed, as in "a (red:1.5) fox", without its weight."""
    return _WEIGHED.sub(r"\1", text)


def _weights(text: str) -> dict[int, float]:
    """Place of the weighed word among the tokens, the start mark being 0: every word of the tiny models is one."""
    found = _WEIGHED.search(text)
    return {} if found is None else {1 + len(text[: found.start()].split()): float(found[2])}


def _embeddings(
    pipe: Any, texts: Sequence[str], weights: Sequence[Mapping[int, float]], *, windows: int, skip: int
) -> Tensor:
    columns = []
    tokens = [pipe.tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    start, end = pipe.tokenizer.bos_token_id, pipe.tokenizer.eos_token_id
    for window in range(windows):
        cut = [each[window * WINDOW : (window + 1) * WINDOW] for each in tokens]
        ids = torch.tensor([[start, *each, *[end] * (WINDOW + 1 - len(each))] for each in cut])
        layers = pipe.text_encoder(ids, output_hidden_states=True).hidden_states
        columns.append(pipe.text_encoder.final_layer_norm(layers[-1 - skip]))
    hidden = torch.cat(columns, dim=1)
    for row, places in enumerate(weights):
        for place, weight in places.items():
            hidden[row, place] *= weight  # the mean of an untrained encoder is nought: there is none to restore
    return hidden
