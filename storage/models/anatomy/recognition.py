"""What a lone safetensors file is: told from the names and shapes of its tensors, in the layouts that people share."""

from dataclasses import dataclass
from typing import Final

from storage.errors import ModelUnusable
from storage.models.anatomy.headers import Header

_LDM: Final = "model.diffusion_model."
_FIRST: Final = f"{_LDM}input_blocks.0.0.weight"
_BASES: Final = {
    768: "sd1",
    1024: "sd2",
    1280: "sdxl-refiner",
    2048: "sdxl",
}  # by width of the text that is attended to
_LORA: Final = ("lora_A.", "lora_B.", "lora_down.", "lora_up.", "lora.down.", "lora.up.", "lora_linear_layer.")
_OTHER_ADAPTERS: Final = ("hada_w1_a", "lokr_w1", "oft_blocks", ".diff_b")
_TEXT_CROSS: Final = ("attn2.to_k", "attn2_to_k", "attn2.processor.to_k_lora")
_NOTHING: Final = (
    "holds none of a checkpoint (SD 1, SD 2, SDXL), LoRA, embedding, VAE, ControlNet or IP-Adapter; "
    "other models are loaded from diffusers folders"
)
_SIDES: Final = {"sd15": 512, "sd2": 512, "sd2-v": 768}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """What a file is."""

    kind: str
    family: str  # of a checkpoint its pipeline class, of other kinds what they fit: sd1, sd2, sdxl, other
    preset: str | None = None  # of a checkpoint: which set of configs it is loaded with
    side: int | None = None  # pixels, of a checkpoint
    prediction: str | None = None  # of a checkpoint: "epsilon" or "v_prediction", where the file tells


def recognise(header: Header, *, source: str) -> Recognised:
    """Tell what a file is.

    Raises:
        ModelUnusable: Nothing that a worker loads from a single file.
    """
    for test in (_checkpoint, _ip_adapter, _lora, _controlnet, _vae, _embedding):
        try:
            found = test(header)
        except ValueError as reason:
            raise ModelUnusable(source, str(reason)) from None
        if found is not None:
            return found
    raise ModelUnusable(source, _NOTHING)


def _checkpoint(header: Header) -> Recognised | None:
    first = header.shapes.get(_FIRST)
    if first is None:
        if header.has(_LDM):
            raise ValueError("is no Stable Diffusion 1, 2 or XL; name a diffusers folder of that model")
        return None
    base = _text_encoder(header)
    if base is None or not header.has("first_stage_model."):
        raise ValueError("holds a UNet without its text encoder or VAE; name a whole checkpoint")
    job = {4: "", 9: "-inpaint"}.get(first[1])
    if job is None or (base == "sdxl-refiner" and job):
        raise ValueError( f"its UNet takes {first[1]} channels, and single files load with 4 or 9 (inpainting); "
            "name a diffusers folder of that model")  # fmt: skip
    family = f"StableDiffusion{'XL' if base.startswith('sdxl') else ''}{'Inpaint' if job else ''}Pipeline"
    prediction = _prediction(header)
    return Recognised(
        kind="checkpoint", preset=f"{base}{job}", prediction=prediction, side=_side(header, base, prediction),
        family="StableDiffusionXLImg2ImgPipeline" if base == "sdxl-refiner" else family,
    )  # fmt: skip


def _text_encoder(header: Header) -> str | None:
    if header.has("conditioner.embedders.1.model."):
        return "sdxl"
    if header.has("conditioner.embedders.0.model."):
        return "sdxl-refiner"
    if header.has("cond_stage_model.model."):
        return "sd2"
    return "sd15" if header.has("cond_stage_model.transformer.") else None


def _prediction(header: Header) -> str | None:
    """How it was trained, where the file says so."""
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    if (
        "v_pred" in header.shapes
        or said.startswith("v")
        or header.metadata.get("modelspec.architecture", "").endswith("-v")
    ):
        return "v_prediction"
    return "epsilon" if said.startswith("eps") else None


def _side(header: Header, base: str, prediction: str | None) -> int:
    said = header.metadata.get("modelspec.resolution", "").partition("x")[0]
    if said.isdigit() and int(said) > 0 and int(said) % 8 == 0:
        return int(said)
    return _SIDES.get(f"{base}-v" if prediction == "v_prediction" else base, _SIDES.get(base, 1024))


def _ip_adapter(header: Header) -> Recognised | None:
    if not (header.has("image_proj.") and header.has("ip_adapter.")):
        return None
    return Recognised(kind="ip_adapter", family=_base(header.width("to_k_ip.weight")))


def _lora(header: Header) -> Recognised | None:
    if header.has("lora_controlnet"):
        raise ValueError("is a Control-LoRA, which no pipeline here loads; name a ControlNet")
    if not header.has(*_LORA):
        if header.has(*_OTHER_ADAPTERS):
            raise ValueError("is a LyCORIS adapter other than LoRA (LoHa, LoKr, ...); diffusers loads LoRA only")
        return None
    down = (f"{part}{ending}" for part in _TEXT_CROSS for ending in _DOWNS)
    return Recognised(kind="lora", family=_base(header.width(*down)))


_DOWNS: Final = (".lora_A.weight", ".lora_down.weight", ".lora.down.weight", ".down.weight", ".lora_A.default.weight")


def _controlnet(header: Header) -> Recognised | None:
    if header.has("control_model.time_embed.0.", "controlnet_cond_embedding.conv_in."):
        return Recognised(kind="controlnet", family="ControlNetModel")
    return None


def _vae(header: Header) -> Recognised | None:
    for start in ("", "first_stage_model."):
        inner = header.shapes.get(f"{start}decoder.conv_in.weight")
        if inner is not None and f"{start}encoder.conv_in.weight" in header.shapes:
            if len(inner) != 4:
                raise ValueError("is the VAE of a video model")
            return Recognised(kind="vae", family="AutoencoderKL")
    return None


def _embedding(header: Header) -> Recognised | None:
    names = set(header.shapes)
    if names == {"clip_l", "clip_g"}:
        return Recognised(kind="embedding", family="sdxl")
    if names == {"emb_params"} or (len(names) == 1 and len(next(iter(header.shapes.values()))) <= 2):
        return Recognised(kind="embedding", family=_base(next(iter(header.shapes.values()))[-1]))
    return None


def _base(width: int | None) -> str:
    return _BASES.get(width or 0, "other")
