"""Every mode, family and option that the renderer is held to, one change at a time.

A case says what a job has anyway, what is changed, and how a user of diffusers writes both. From this table come the
tests that the change shows and that no bit differs from plain diffusers, and the tables of docs/renderer.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tiny
from renderer_bench import CHECKED, Each
from renderer_by_hand import Fade, Hush, diffusers_cutoff, embedded, half_cutoff, scales, with_callback
from renderer_plain import Plain, one_by_one, plainly, refined, unconditionally
from storage.spec.fields import DEPTH, IMAGE_TO_IMAGE, INPAINT, TEXT_TO_IMAGE, UNCONDITIONAL

T2I, I2I = TEXT_TO_IMAGE, IMAGE_TO_IMAGE


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One change of one key."""

    key: str  # of FIELDS
    model: str  # name of a tiny model
    change: Any  # the key's value in the changed job
    mode: str = T2I
    given: Mapping[str, Any] = field(default_factory=dict)  # what both jobs have; None: not even the usual value
    plain: Plain = plainly
    batch: int = 2
    note: str = ""  # what "the same" means where diffusers has no such option

    @property
    def base(self) -> dict[str, Any]:
        """The job before the change."""
        usual = {"model": self.model, "prompt": Each("a red fox", "a blue owl"), "seed": Each(1, 2), "steps": 3}
        usual |= {"width": tiny.SIDE, "height": tiny.SIDE}
        return {key: value for key, value in {**usual, **_NEEDED[self.mode], **self.given}.items() if value is not None}

    @property
    def changed(self) -> dict[str, Any]:
        """The job after it."""
        return {**self.base, self.key: self.change}

    @property
    def name(self) -> str:
        """For the test's id."""
        parts = [f"{self.key}={_short(self.change)}", self.model, self.mode]
        return " ".join([*parts, *(f"with {key}" for key in self.given if key in _TOLD)])


_NEEDED: Mapping[str, Mapping[str, Any]] = {
    T2I: {},
    I2I: {"init_image": Each("one", "two"), "strength": 0.5},
    INPAINT: {"init_image": Each("one", "two"), "mask": "mask"},
    DEPTH: {"init_image": Each("one", "two"), "strength": 0.5},
    UNCONDITIONAL: {"prompt": None},
}
_TOLD = {"controlnet", "ip_adapter", "refiner_start", "refiner_strength"}
_OTHERS = Each("a cat", "a red dog")
_LONG = Each("a red fox " * 28, "a blue owl " * 28)
_CONTROL = {"control_image": Each("one", "two")}
_IP = {"ip_adapter": "ip_adapter", "ip_adapter_image": "one"}
_TWICE = {"true_cfg_scale": 4.0, "negative_prompt": "a"}
_START = {"refiner": "refiner", "refiner_start": 0.5, "steps": 4}
_AGAIN = {"refiner": "refiner", "refiner_strength": 0.7}
_EULER = "euler"
_OWN = "a callback by hand; diffusers has none for more than one image a call"
_AWAY = {"negative_original_size": [32, 32], "negative_target_size": [32, 32]}
_TWO = "two calls, the second with the latents of the first"
_MIXED = "one call an image: in a batch, diffusers' text-to-image gives the sizes to the wrong rows"
_FLOWS = ("sd3", "flux", "qwen", "z_image")


def _modes() -> list[Case]:
    """The prompt in every mode that a family has."""
    cases = [
        Case(key="prompt", model=model, change=_OTHERS)
        for model in ("sd", "sd_v", "sdxl", "sd3", "sd3_without_t5", "flux", "flux_schnell", "qwen", "z_image")
    ]
    cases += [
        Case(key="prompt", model=model, change=_OTHERS, mode=I2I)
        for model in ("sd", "sd_v", "sdxl", "refiner", *_FLOWS)
    ]
    cases += [
        Case(key="prompt", model=model, change=_OTHERS, mode=INPAINT)
        for model in ("sd", "sd_inpaint", "sdxl", "sdxl_inpaint", "flux", "qwen", "z_image")
    ]
    cases.append(Case(key="prompt", model="sd_depth", change=_OTHERS, mode=DEPTH))
    cases.append(Case(key="seed", model="ddpm", change=Each(3, 4), mode=UNCONDITIONAL, plain=unconditionally))
    return cases


def _words() -> list[Case]:
    return [
        Case(key="model", model="sd", change="sd_v"),
        Case(key="prompt_2", model="sdxl", change=_OTHERS),
        Case(key="prompt_2", model="sd3", change=_OTHERS),
        Case(key="prompt_2", model="flux", change=_OTHERS),
        Case(key="prompt_3", model="sd3", change=_OTHERS),
        *[Case(key="negative_prompt", model=model, change=_OTHERS) for model in ("sd", "sdxl", "sd3", "z_image")],
        Case(key="negative_prompt", model="sdxl", change="", note="to SDXL, none and an empty one are two things"),
        Case(key="negative_prompt", model="flux", change=_OTHERS, given=_TWICE),
        Case(key="negative_prompt", model="qwen", change=_OTHERS, given=_TWICE),
        Case(key="negative_prompt_2", model="sdxl", change=_OTHERS, given={"negative_prompt": "a"}),
        Case(key="negative_prompt_2", model="sd3", change=_OTHERS, given={"negative_prompt": "a"}),
        Case(key="negative_prompt_3", model="sd3", change=_OTHERS, given={"negative_prompt": "a"}),
        Case(key="clip_skip", model="sd", change=1, plain=embedded,
             note="embeddings by hand; with transformers 5 diffusers' own clip_skip fails on Stable Diffusion"),
        Case(key="clip_skip", model="sdxl", change=1),
        Case(key="clip_skip", model="sd3", change=1),
        Case(key="max_sequence_length", model="sd3", change=16),
        Case(key="max_sequence_length", model="flux", change=16),
        *[Case(key="max_sequence_length", model=model, change=8, given={"prompt": _LONG, "long_prompts": "truncate"})
          for model in ("qwen", "z_image")],
        Case(key="long_prompts", model="sd", change="chunk", given={"prompt": _LONG, "long_prompts": "truncate"},
             plain=_either(plainly, embedded, "long_prompts", "chunk"), note="embeddings by hand, window by window"),
        Case(key="weighting", model="sd", change="a1111", given={"prompt": Each("a (red:1.5) fox", "a blue (owl:0.5)")},
             plain=_either(plainly, embedded, "weighting", "a1111"), note="embeddings by hand, each times its weight"),
    ]  # fmt: skip


def _numbers() -> list[Case]:
    guided = ("sd", "sdxl", "sd3", "flux", "z_image")
    return [
        Case(key="seed", model="sd", change=Each(3, 4)),
        *[Case(key="steps", model=model, change=4) for model in ("sd", "sdxl", *_FLOWS)],
        Case(key="steps", model="ddpm", change=4, mode=UNCONDITIONAL, plain=unconditionally),
        *[Case(key="guidance_scale", model=model, change=2.0) for model in guided],
        Case(key="guidance_scale", model="sd", change=1.0, note="1 is none"),
        *[Case(key="guidance_rescale", model=model, change=0.7) for model in ("sd", "sdxl")],
        *[Case(key="true_cfg_scale", model=model, change=2.0, given=_TWICE) for model in ("flux", "qwen")],
        *[Case(key="strength", model=model, change=1.0, mode=I2I) for model in ("sd", "sdxl", *_FLOWS)],
        Case(key="strength", model="sd", change=0.7, mode=INPAINT),
        Case(key="strength", model="sd_depth", change=1.0, mode=DEPTH),
        Case(key="eta", model="sd", change=0.5, given={"scheduler": "ddim"}),
        Case(key="eta", model="sd", change=0.9, given={"scheduler": "tcd"}),
        Case(key="eta", model="ddpm", change=0.5, given={"scheduler": "ddim"}, mode=UNCONDITIONAL,
             plain=unconditionally),
        *[Case(key=key, model=model, change=48) for key in ("width", "height") for model in ("sd", "sdxl", *_FLOWS)],
        Case(key="timesteps", model="sdxl", change=[900, 600, 300, 50], given={"scheduler": _EULER}),
        Case(key="sigmas", model="sdxl", change=[14.0, 5.0, 1.0], given={"scheduler": _EULER}),
        Case(key="sigmas", model="sd3", change=[1.0, 0.6, 0.2]),
        Case(key="sigmas", model="flux", change=[1.0, 0.6, 0.2]),
        *[Case(key=key, model="sdxl", change=value) for key, value in (
            ("original_size", [64, 48]), ("target_size", [64, 48]), ("crops_coords_top_left", [8, 4]))],
        *[Case(key=key, model="sdxl", change=value, given=_AWAY, plain=one_by_one, note=_MIXED) for key, value in (
            ("negative_original_size", [64, 48]), ("negative_target_size", [64, 48]),
            ("negative_crops_coords_top_left", [8, 4]))],
        *[Case(key=key, model="sdxl", change=[900, 8], mode=I2I, given={"strength": 1.0})
          for key in ("negative_original_size", "negative_target_size")],
        *[Case(key="scheduler", model=model, change=name)
          for model in ("sd", "sd_v") for name in ("euler_a", "heun", "dpmpp_2m_sde")],
        Case(key="scheduler", model="sd", change={"name": "dpmpp_2m", "use_karras_sigmas": True},
             given={"scheduler": "dpmpp_2m"}),
        Case(key="scheduler", model="sdxl", change="euler_a"),
        Case(key="scheduler", model="sd3", change="flow_heun"),
        Case(key="scheduler", model="ddpm", change="ddim", mode=UNCONDITIONAL, plain=unconditionally),
    ]  # fmt: skip


def _pictures() -> list[Case]:
    return [
        *[Case(key="init_image", model=model, change=Each("three", "four"), mode=I2I)
          for model in ("sd", "sdxl", *_FLOWS)],
        Case(key="mask", model="sd", change="corner", mode=INPAINT),
        Case(key="mask", model="sdxl_inpaint", change="corner", mode=INPAINT),
        *[Case(key="mask_invert", model=model, change=True, mode=INPAINT) for model in ("sd", "sdxl_inpaint")],
        *[Case(key="mask_blur", model=model, change=4, mode=INPAINT, given={"mask": "corner"})
          for model in ("sd", "sd_inpaint")],
        *[Case(key="padding_mask_crop", model=model, change=4, mode=INPAINT, given={"mask": "corner"},
               plain=_either(plainly, one_by_one, "padding_mask_crop", 4), note="one call an image")
          for model in ("sd", "sd_inpaint", "sdxl")],
        Case(key="depth_map", model="sd_depth", change=Each("three", "four"), mode=DEPTH),
        *[Case(key="resize", model="sd", change=how, mode=I2I, given={"init_image": "wide", "resize": before})
          for how, before in (("pad", "crop"), ("stretch", "pad"), ("crop", "stretch"))],
    ]  # fmt: skip


def _parts() -> list[Case]:
    cases = [
        Case(key="vae", model="sd", change="vae"),
        Case(key="vae", model="sdxl", change="vae"),
        Case(key="loras", model="sd", change=[{"model": "lora", "scale": 0.5}]),
        Case(key="loras", model="sd", change=[{"model": "lora", "scale": 0.5}, {"model": "lora_kohya", "scale": 0.3}]),
        Case(key="loras", model="sd", change=[{"model": "lora", "scale": 0.2}], given={"loras": [{"model": "lora"}]}),
        Case(key="loras", model="sdxl", change=[{"model": "lora_xl", "scale": 0.5}]),
        Case(key="lora_scale", model="sd", change=0.5, given={"loras": [{"model": "lora", "scale": 0.5}]}),
        *[Case(key="embeddings", model=model, change=[{"model": name, "token": tiny.TOKEN}],
               given={"prompt": Each(f"a {tiny.TOKEN} fox", f"a red {tiny.TOKEN}")})
          for model, name in (("sd", "embedding"), ("sdxl", "embedding_xl"))],
        Case(key="ip_adapter", model="sd", change="ip_adapter", given={"ip_adapter_image": "one"}),
        Case(key="ip_adapter", model="sd", change="ip_adapter", given={"ip_adapter_image": "one"}, mode=I2I),
        Case(key="ip_adapter_image", model="sd", change="two", given=_IP),
        Case(key="ip_adapter_scale", model="sd", change=0.4, given=_IP),
        Case(key="ip_adapter_cutoff", model="sd", change=0.5, given=_IP, batch=1, plain=diffusers_cutoff,
             note="diffusers' callback, one image a call"),
        Case(key="safety_checker", model=CHECKED, change="flag"),
    ]  # fmt: skip
    for model, net in (("sd", "controlnet"), ("sdxl", "controlnet_xl")):
        given = {**_CONTROL, "controlnet": net}
        cases += [
            *[
                Case(key="controlnet", model=model, change=net, given=_CONTROL, mode=mode)
                for mode in (T2I, I2I, INPAINT)
            ],
            Case(key="control_image", model=model, change=Each("three", "four"), given=given),
            Case(key="controlnet_conditioning_scale", model=model, change=0.5, given=given),
            Case(key="control_guidance_start", model=model, change=0.4, given=given),
            Case(key="control_guidance_end", model=model, change=0.5, given=given),
        ]
    return cases


def _refiner() -> list[Case]:
    cases = [
        Case(key="refiner", model="sdxl", change="refiner", given=given, mode=mode, note=_TWO,
             plain=_either(plainly, refined, "refiner", "refiner"))
        for given in ({"refiner_start": 0.5, "steps": 4}, {"refiner_strength": 0.7})
        for mode in (T2I, I2I, INPAINT)
    ]  # fmt: skip
    for key, value, given in (
        ("refiner_start", 0.75, _START),
        ("refiner_strength", 0.4, _AGAIN),
        ("refiner_steps", 6, _AGAIN),
        ("refiner_scheduler", "euler_a", _AGAIN),
        ("refiner_guidance_scale", 2.0, _START),
        ("aesthetic_score", 9.0, _START),
        ("negative_aesthetic_score", 6.0, _AGAIN),
        ("refiner_prompt", _OTHERS, _START),
        ("refiner_negative_prompt", "a cat", _START),
        ("scheduler", "euler_a", _START),
        ("negative_prompt", "a cat", _START),
        ("vae", "vae", _AGAIN),
    ):
        cases.append(Case(key=key, model="sdxl", change=value, given=given, plain=refined, note=_TWO))
    return cases


def _steps() -> list[Case]:
    one = "diffusers' callback, one image a call, told the step before"
    net = {**_CONTROL, "controlnet": "controlnet_xl"}
    fade = _either(plainly, with_callback(Fade(0.5)), "callbacks", [{"name": "fade", "options": {"factor": 0.5}}])
    hush = _either(plainly, with_callback(Hush(), "prompt_embeds"), "callbacks", "hush")
    theirs = _when("cfg_cutoff", diffusers_cutoff)
    return [
        *[Case(key="cfg_cutoff", model=model, change=cutoff, batch=1, plain=theirs, note=one)
          for model in ("sd", "sdxl", "sd3") for cutoff in ({"ratio": 0.3}, {"step": 1})],
        Case(key="cfg_cutoff", model="sdxl", change={"step": 1}, given=net, batch=1, plain=theirs, note=one),
        Case(key="cfg_cutoff", model="sd", change={"step": 2}, given=_IP,
             note="a callback by hand that sets a scale of 1", plain=_when("cfg_cutoff", scales(7.5, 7.5, 1.0 + 1e-9))),
        Case(key="cfg_cutoff", model="sd", change={"step": 2}, note=_OWN,
             plain=_when("cfg_cutoff", half_cutoff("prompt_embeds"))),
        Case(key="cfg_cutoff", model="sd_inpaint", change={"step": 2}, mode=INPAINT, note=_OWN,
             plain=_when("cfg_cutoff", half_cutoff("prompt_embeds", "mask", "masked_image_latents"))),
        Case(key="cfg_cutoff", model="sdxl", change={"ratio": 0.5}, given={"steps": 4}, note=_OWN,
             plain=_when("cfg_cutoff", half_cutoff("prompt_embeds", "add_text_embeds", "add_time_ids"))),
        Case(key="cfg_cutoff", model="sd3", change={"step": 2}, note=_OWN,
             plain=_when("cfg_cutoff", half_cutoff("prompt_embeds", "pooled_prompt_embeds"))),
        Case(key="cfg_cutoff", model="z_image", change={"step": 2}, note=_OWN,
             plain=_when("cfg_cutoff", half_cutoff())),
        *[Case(key="dynamic_guidance", model=model, change=[[0.0, 6.0], [0.5, 2.0]], note="a callback by hand",
               plain=_when("dynamic_guidance", scales(6.0, 6.0, 2.0))) for model in ("sd", "sdxl", "sd3", "z_image")],
        Case(key="dynamic_guidance", model="sd", change=[[0.6, 2.0]], note="a callback by hand",
             plain=_when("dynamic_guidance", scales(7.5, 7.5, 2.0))),
        Case(key="callbacks", model="sd", change=[{"name": "fade", "options": {"factor": 0.5}}], plain=fade),
        Case(key="callbacks", model="flux", change=[{"name": "fade", "options": {"factor": 0.5}}], plain=fade),
        Case(key="callbacks", model="sdxl", change="hush", plain=hush),
    ]  # fmt: skip


def _short(value: Any) -> str:
    """A value in a test's name."""
    words = value.values[0] if isinstance(value, Each) else value
    return re.sub(r"[^a-z0-9_.,]+", " ", str(words)).strip()[:40]


def _either(base: Plain, changed: Plain, key: str, value: Any) -> Plain:
    """One way to draw where the key has that value, another one elsewhere."""
    return lambda models, mode, rows: (changed if rows[0].get(key) == value else base)(models, mode, rows)


def _when(key: str, changed: Plain) -> Plain:
    """That way to draw where the key is there."""
    return lambda models, mode, rows: (changed if key in rows[0] else plainly)(models, mode, rows)


CASES = [*_modes(), *_words(), *_numbers(), *_pictures(), *_parts(), *_refiner(), *_steps()]
