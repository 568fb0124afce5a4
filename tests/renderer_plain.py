"""How a user of diffusers writes what a job says: each function draws a batch with pipelines that it loads itself.

Nothing here comes from the worker: this is what its pictures are held against.
"""

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from safetensors.torch import load_file
from transformers import CLIPImageProcessor

import tiny
from renderer_bench import CHECKED, photo
from storage.spec.fields import DEPTH, IMAGE_TO_IMAGE, INPAINT, TEXT_TO_IMAGE

Models = Callable[[str], Path]
Values = Mapping[str, Any]
Plain = Callable[[Models, str, Sequence[Values]], list[Image.Image]]
KINDS = {
    TEXT_TO_IMAGE: {
        "sd": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline", "sd3": "StableDiffusion3Pipeline",
        "flux": "FluxPipeline", "qwen": "QwenImagePipeline", "z_image": "ZImagePipeline",
        "sd+": "StableDiffusionControlNetPipeline", "sdxl+": "StableDiffusionXLControlNetPipeline",
    },
    IMAGE_TO_IMAGE: {
        "sd": "StableDiffusionImg2ImgPipeline", "sdxl": "StableDiffusionXLImg2ImgPipeline",
        "refiner": "StableDiffusionXLImg2ImgPipeline", "sd3": "StableDiffusion3Img2ImgPipeline",
        "flux": "FluxImg2ImgPipeline", "qwen": "QwenImageImg2ImgPipeline", "z_image": "ZImageImg2ImgPipeline",
        "sd+": "StableDiffusionControlNetImg2ImgPipeline", "sdxl+": "StableDiffusionXLControlNetImg2ImgPipeline",
    },
    INPAINT: {
        "sd": "StableDiffusionInpaintPipeline", "sdxl": "StableDiffusionXLInpaintPipeline",
        "refiner": "StableDiffusionXLInpaintPipeline", "sd3": "StableDiffusion3InpaintPipeline",
        "flux": "FluxInpaintPipeline", "qwen": "QwenImageInpaintPipeline", "z_image": "ZImageInpaintPipeline",
        "sd+": "StableDiffusionControlNetInpaintPipeline", "sdxl+": "StableDiffusionXLControlNetInpaintPipeline",
    },
    DEPTH: {"sd": "StableDiffusionDepth2ImgPipeline"},
}  # fmt: skip
GUIDANCE = {"sd": 7.5, "sdxl": 5.0, "refiner": 5.0, "sd3": 7.0, "flux": 3.5, "z_image": 5.0}  # of text-to-image
SCHEDULERS = {
    "euler": ("EulerDiscreteScheduler", {}), "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}), "ddim": ("DDIMScheduler", {}), "tcd": ("TCDScheduler", {}),
    "ddpm": ("DDPMScheduler", {}), "flow_heun": ("FlowMatchHeunDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
}  # fmt: skip
ARGUMENTS = (
    "prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3",
)  # fmt: skip
OPTIONS = (
    "guidance_scale", "guidance_rescale", "true_cfg_scale", "eta", "strength", "clip_skip", "max_sequence_length",
    "timesteps", "sigmas", "padding_mask_crop", "controlnet_conditioning_scale", "control_guidance_start",
    "control_guidance_end",
)  # fmt: skip
PAIRS = (
    "original_size",
    "target_size",
    "crops_coords_top_left",
    "negative_original_size",
    "negative_target_size",
    "negative_crops_coords_top_left",
)


def plainly(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
    """One pipeline, one call."""
    pipe = load(models, mode, rows[0])
    return list(pipe(**call(models, pipe, mode, rows)).images)


def one_by_one(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
    """A call an image."""
    return [image for row in rows for image in plainly(models, mode, [row])]


def load(models: Models, mode: str, values: Values) -> Any:
    """The pipeline with its scheduler and adapters."""
    family = family_of(values["model"])
    kind = getattr(diffusers, KINDS[mode][f"{family}+" if "controlnet" in values else family])
    parts: dict[str, Any] = {}
    if values["model"] == "sd3_without_t5":
        parts = {"text_encoder_3": None, "tokenizer_3": None}
    if "vae" in values:
        parts["vae"] = diffusers.AutoencoderKL.from_pretrained(models(values["vae"]))
    if "controlnet" in values:
        parts["controlnet"] = diffusers.ControlNetModel.from_pretrained(models(values["controlnet"]))
    if values.get("safety_checker") == "flag":
        parts |= _checker(models(values["model"]) / "safety_checker")
    dressed = {"loras", "embeddings", "ip_adapter"} & set(values) or values["model"] == CHECKED
    folder = models(values["model"])
    # Copied or new: nothing that a case puts on is there in the next.
    pipe = _loaded(kind, folder, parts) if dressed or parts else copy.copy(_loaded_once(kind, folder))
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    if "scheduler" in values:
        pipe.scheduler = scheduler_of(values["scheduler"], pipe)
    _dress(pipe, models, values)
    return pipe


def call(models: Models, pipe: Any, mode: str, rows: Sequence[Values]) -> dict[str, Any]:
    """The arguments of its call."""
    first = rows[0]
    said: dict[str, Any] = {name: [row[name] for row in rows] for name in ARGUMENTS if first.get(name) is not None}
    said |= {name: first[name] for name in OPTIONS if name in first}
    said |= {name: tuple(first[name]) for name in PAIRS if name in first}
    known = inspect.signature(pipe.__call__).parameters  # some take the size of their first image
    said |= {name: first[name] for name in ("width", "height") if name in known}
    if "guidance_scale" not in said and family_of(first["model"]) in GUIDANCE:
        said["guidance_scale"] = GUIDANCE[family_of(first["model"])]
    said["num_inference_steps"] = first.get("steps", 30)
    said["generator"] = [torch.Generator().manual_seed(row["seed"]) for row in rows]
    if "init_image" in first:
        said["image"] = [_sized(photo(row["init_image"]), first) for row in rows]
    if "mask" in first:
        said["mask_image"] = [_mask(row) for row in rows]
    if "depth_map" in first:
        grey = [torch.tensor(np.array(photo(row["depth_map"]).convert("L"))) for row in rows]
        said["depth_map"] = torch.stack(grey) / 255
    if "controlnet" in first:
        name = "image" if mode == TEXT_TO_IMAGE else "control_image"
        said[name] = [photo(row["control_image"]) for row in rows]
    if "ip_adapter" in first:
        # diffusers deals the embeddings of one picture out among the prompts; each shall have all of them.
        pictures = [photo(row["ip_adapter_image"]) for row in rows]
        wanted = pipe.prepare_ip_adapter_image_embeds([pictures], None, "cpu", 1, True)[0]
        said["ip_adapter_image_embeds"] = [wanted.reshape(2 * len(rows), 1, -1)]
    if "padding_mask_crop" in first:
        said["image"], said["mask_image"] = said["image"][0], said["mask_image"][0]
    return said


def unconditionally(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
    """A pipeline without a prompt; DDIM's own pipeline where its noise is asked for."""
    first = rows[0]
    kind = diffusers.DDIMPipeline if "eta" in first else diffusers.DDPMPipeline
    pipe = kind(**diffusers.DDPMPipeline.from_pretrained(models(first["model"])).components)
    pipe.set_progress_bar_config(disable=True)
    if "scheduler" in first:
        pipe.scheduler = scheduler_of(first["scheduler"], pipe)
    draws = [torch.Generator().manual_seed(row["seed"]) for row in rows]
    eta = {"eta": first["eta"]} if "eta" in first else {}
    made = pipe(batch_size=len(rows), generator=draws, num_inference_steps=first["steps"], **eta)
    return list(made.images)


def refined(models: Models, mode: str, rows: Sequence[Values]) -> list[Image.Image]:
    """A base whose latents a refiner goes on with, as diffusers' guide to SDXL does."""
    first = rows[0]
    base = load(models, mode, first)
    said = call(models, base, mode, rows)
    split = {} if "refiner_start" not in first else {"denoising_end": first["refiner_start"]}
    latents = base(**said, **split, output_type="latent").images
    second: list[dict[str, Any]] = []
    for row in rows:
        theirs = {key: row[key] for key in ("prompt", "negative_prompt", "seed", "mask", "vae") if key in row}
        theirs |= {
            key: first[key] for key in ("steps", "guidance_scale", "scheduler", "width", "height") if key in first
        }
        renamed = {key.removeprefix("refiner_"): value for key, value in row.items() if key.startswith("refiner_")}
        second.append({**theirs, **renamed, "model": row["refiner"]})
    kind = INPAINT if mode == INPAINT else IMAGE_TO_IMAGE
    refiner = load(models, kind, second[0])
    theirs = call(models, refiner, kind, second)
    theirs |= {key: first[key] for key in ("aesthetic_score", "negative_aesthetic_score") if key in first}
    if "refiner_start" in first:
        theirs["denoising_start"] = first["refiner_start"]
    return list(refiner(**{**theirs, "image": latents, "generator": said["generator"]}).images)


def scheduler_of(value: str | Mapping[str, Any], pipe: Any) -> Any:
    """The scheduler that a job names, with its options."""
    name, options = (value, {}) if isinstance(value, str) else (value["name"], dict(value))
    kind, preset = SCHEDULERS[name]
    options = {key: option for key, option in options.items() if key != "name"}
    return getattr(diffusers, kind).from_config(pipe.scheduler.config, **preset, **options)


def family_of(model: str) -> str:
    """The first part of a tiny model's name tells: sd_v and sd_inpaint are "sd"."""
    return model if model in {"z_image", "refiner"} else model.partition("_")[0]


def _loaded(kind: Any, folder: Path, parts: Mapping[str, Any]) -> Any:
    pipe = kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def _loaded_once(kind: Any, folder: Path) -> Any:
    return _loaded(kind, folder, {})


def _checker(folder: Path) -> dict[str, Any]:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    checker = StableDiffusionSafetyChecker.from_pretrained(folder)
    return {"safety_checker": checker, "feature_extractor": CLIPImageProcessor.from_pretrained(folder)}


def _dress(pipe: Any, models: Models, values: Values) -> None:
    entries = [{"scale": 1.0} | entry for entry in values.get("loras", [])]
    for place, entry in enumerate(entries):
        file = models(entry["model"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            pipe.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=f"lora{place}")
    if entries:
        scales = [entry["scale"] * values.get("lora_scale", 1.0) for entry in entries]
        pipe.set_adapters([f"lora{place}" for place in range(len(entries))], scales)
    for entry in values.get("embeddings", []):
        vectors = load_file(models(entry["model"]))
        if "clip_g" in vectors:
            for name, end in (("clip_l", ""), ("clip_g", "_2")):
                text = {key: getattr(pipe, f"{key}{end}") for key in ("text_encoder", "tokenizer")}
                pipe.load_textual_inversion(vectors[name], token=entry["token"], **text)
        else:
            pipe.load_textual_inversion(str(models(entry["model"])), token=entry["token"])
    if "ip_adapter" in values:
        pipe.load_ip_adapter(str(models(values["ip_adapter"])), subfolder="", weight_name="ip_adapter.safetensors")
        pipe.set_ip_adapter_scale(values.get("ip_adapter_scale", 1.0))


def _sized(picture: Image.Image, values: Values) -> Image.Image:
    """A picture twice as wide as high in a square, in the three ways."""
    side, how = tiny.SIDE, values.get("resize", "crop")
    if picture.size == (side, side):
        return picture
    if how == "crop":
        return picture.crop((side // 2, 0, side // 2 + side, side))
    if how == "stretch":
        return picture.resize((side, side), Image.Resampling.LANCZOS)
    padded = Image.new("RGB", (side, side))
    padded.paste(picture.resize((side, side // 2), Image.Resampling.LANCZOS), (0, side // 4))
    return padded


def _mask(values: Values) -> Image.Image:
    mask = photo(values["mask"])
    mask = ImageOps.invert(mask) if values.get("mask_invert") else mask
    return mask.filter(ImageFilter.GaussianBlur(values["mask_blur"])) if "mask_blur" in values else mask
