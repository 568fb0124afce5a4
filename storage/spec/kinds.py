"""What values of recipe keys look like: checked, and brought to the one form in which they are stored.

A job file may spell a value in several ways (`loras: watercolor`, `loras: [{model: watercolor, scale: 0.8}]`); a spec
holds one of them, in plain JSON, so that equal wishes have equal hashes.
"""

from itertools import pairwise
from math import inf, isfinite
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

SIZE_STEP = 8  # pixels per latent of every latent-diffusion VAE in use
MAX_SIDE = 8192  # pixels
MAX_PROMPT_BYTES = 65_536
MAX_LIST = 1000  # entries of a schedule; no sampler trains on more timesteps
MAX_ADAPTERS = 16

Dtype = Literal["float32", "float16", "bfloat16"]
Attention = Literal["sdpa", "math", "flash", "efficient", "cudnn"]
Offload = Literal["none", "model", "sequential"]


def _on_grid(pixels: int) -> int:
    if pixels % SIZE_STEP:
        raise ValueError(f"must be divisible by {SIZE_STEP}")
    return pixels


def storable(text: str) -> str:
    """Refuse a text that JSON, SQL or a file name cannot hold. Raises ValueError."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode (it holds half of a surrogate pair)") from None
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    if size > MAX_PROMPT_BYTES:
        raise ValueError(f"must be at most {MAX_PROMPT_BYTES} bytes (it has {size})")
    return text


def _as_float(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return float(value) + 0.0  # no -0.0
    except OverflowError:  # a whole number beyond every float, refused below as not finite
        return inf


Text = Annotated[str, AfterValidator(storable)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Steps = Annotated[int, Field(ge=1, le=1000, strict=True)]
Side = Annotated[int, Field(ge=SIZE_STEP, le=MAX_SIDE, strict=True), AfterValidator(_on_grid)]
Pixels = Annotated[int, Field(ge=0, le=MAX_SIDE, strict=True)]
ModelName = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(storable)]
InputImage = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Number = Annotated[float, BeforeValidator(_as_float), Field(allow_inf_nan=False, strict=True)]
Guidance = Annotated[Number, Field(ge=0, le=100)]
Ratio = Annotated[Number, Field(ge=0, le=1)]
Strength = Annotated[Number, Field(gt=0, le=1)]
Scale = Annotated[Number, Field(ge=-10, le=10)]
Score = Annotated[Number, Field(ge=0, le=10)]
Layers = Annotated[int, Field(ge=0, le=48, strict=True)]
Tokens = Annotated[int, Field(ge=1, le=4096, strict=True)]
Switch = Annotated[bool, Field(strict=True)]


def _pair(low: int, names: str) -> Any:
    def check(value: object) -> list[int]:
        given = value if isinstance(value, list) else []
        numbers = [one for one in given if isinstance(one, int) and not isinstance(one, bool)]
        if len(given) != 2 or len(numbers) != 2:
            raise ValueError(f"must be two whole numbers, [{names}]")
        if any(not low <= one <= 65_536 for one in numbers):
            raise ValueError(f"must be two numbers from {low} to 65536, [{names}]")
        return numbers

    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
    return Annotated[list[int], BeforeValidator(check), WithJsonSchema(schema)]


SizePair = _pair(1, "height, width")
CropPair = _pair(0, "top, left")


def _schedule(value: list[float]) -> list[float]:
    if any(later >= earlier for earlier, later in pairwise(value)):
        raise ValueError("must fall from each entry to the next")
    return value


Timesteps = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31, strict=True)]],
    Field(min_length=1, max_length=MAX_LIST),
    AfterValidator(_schedule),
]
Sigmas = Annotated[
    list[Annotated[Number, Field(ge=0)]], Field(min_length=1, max_length=MAX_LIST), AfterValidator(_schedule)
]


def _entry(given: object, *, key: str, extra: str, default: object) -> dict[str, Any]:
    """One {model, extra} of a list, from its full or short spelling."""
    entry = {key: given} if isinstance(given, str) else given
    if not isinstance(entry, dict) or not isinstance(entry.get(key), str) or not entry[key]:
        raise ValueError(f"must be a name, or {{{key}: ..., {extra}: ...}}")
    if unknown := [name for name in entry if name not in (key, extra)]:
        raise ValueError(f"has an unknown key {unknown[0]!r}; known: {key}, {extra}")
    storable(entry[key])
    return {key: entry[key], extra: entry.get(extra, default)}


def _loras(value: object) -> list[dict[str, Any]]:
    given = value if isinstance(value, list) else [] if value is None else [value]
    entries = [_entry(one, key="model", extra="scale", default=1.0) for one in given]
    for entry in entries:
        scale = _as_float(entry["scale"])
        if not isinstance(scale, float) or not isfinite(scale) or abs(scale) > 10:
            raise ValueError("scale must be a number from -10 to 10")
        entry["scale"] = scale
    return _distinct(entries)


def _embeddings(value: object) -> list[dict[str, Any]]:
    given = value if isinstance(value, list) else [] if value is None else [value]
    entries = [_entry(one, key="model", extra="token", default=None) for one in given]
    for entry in entries:
        if not isinstance(entry["token"], str) or not entry["token"] or any(map(str.isspace, entry["token"])):
            raise ValueError("token must be the word that stands for it in prompts, such as <toy>")
        storable(entry["token"])
    return _distinct(entries)


def _distinct(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(entries) > MAX_ADAPTERS:
        raise ValueError(f"must be at most {MAX_ADAPTERS}")
    names = [entry["model"] for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError("must not name a model twice")
    return entries


def _cutoff(value: object) -> dict[str, Any]:
    entry = {"ratio": value} if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(entry, dict) or len(entry) != 1 or not {"ratio", "step"} & set(entry):
        raise ValueError("must be a ratio such as 0.6, or {ratio: 0.6}, or {step: 12}")
    if "step" in entry:
        if isinstance(entry["step"], bool) or not isinstance(entry["step"], int) or not 0 <= entry["step"] < 1000:
            raise ValueError("step must be a whole number from 0 to 999")
        return dict(entry)
    ratio = _as_float(entry["ratio"])
    if not isinstance(ratio, float) or not 0 <= ratio <= 1:
        raise ValueError("ratio must be a number from 0 to 1")
    return {"ratio": ratio}


def _pieces(value: object) -> list[list[float]]:
    rule = "must be pairs [from_ratio, scale], such as [[0, 7.5], [0.5, 3]]"
    if not isinstance(value, list) or not value or len(value) > MAX_LIST:
        raise ValueError(rule)
    pairs = []
    for pair in value:
        numbers = [_as_float(one) for one in pair] if isinstance(pair, list) else []
        if len(numbers) != 2 or not all(isinstance(one, float) and isfinite(one) for one in numbers):
            raise ValueError(rule)
        pairs.append([float(one) for one in numbers])  # type: ignore[arg-type]
    ratios = [ratio for ratio, _ in pairs]
    if sorted(set(ratios)) != ratios or ratios[0] < 0 or ratios[-1] > 1:
        raise ValueError("ratios must rise, from 0 to 1")
    if any(not 1 <= scale <= 100 for _, scale in pairs):
        raise ValueError("scales must be in [1, 100]; 1 is no guidance")
    return pairs


def _callbacks(value: object) -> list[dict[str, Any]]:
    given = value if isinstance(value, list) else [] if value is None else [value]
    entries = [_entry(one, key="name", extra="options", default={}) for one in given]
    for entry in entries:
        options = entry["options"]
        if not isinstance(options, dict) or not all(isinstance(option, str) for option in options):
            raise ValueError("options must be a mapping of names to values")
        for name, option in options.items():
            storable(name)
            _check_option(option)
    return entries


def _check_option(value: object) -> None:
    if not isinstance(value, bool | int | float | str | None):
        raise ValueError("options must be numbers, texts, true, false or null")
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, int | float) and (not isfinite(value) if isinstance(value, float) else abs(value) >= 2**63):
        raise ValueError("options must be finite, and whole numbers in (-2**63, 2**63)")


def _listed(*, of: dict[str, Any]) -> WithJsonSchema:
    single = {"anyOf": [{"type": "string"}, {"type": "object", "properties": of}]}
    return WithJsonSchema({"anyOf": [*single["anyOf"], {"type": "array", "items": single}]})


_NAMED = {"model": {"type": "string"}}
Loras = Annotated[
    list[dict[str, Any]], BeforeValidator(_loras), _listed(of={**_NAMED, "scale": {"type": "number", "default": 1}})
]
Embeddings = Annotated[
    list[dict[str, Any]], BeforeValidator(_embeddings), _listed(of={**_NAMED, "token": {"type": "string"}})
]
Callbacks = Annotated[
    list[dict[str, Any]],
    BeforeValidator(_callbacks),
    _listed(of={"name": {"type": "string"}, "options": {"type": "object"}}),
]
Cutoff = Annotated[
    dict[str, Any],
    BeforeValidator(_cutoff),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "object", "properties": {"ratio": {"type": "number"}, "step": {"type": "integer"}}},
            ]
        }
    ),
]
GuidanceSteps = Annotated[
    list[list[float]],
    BeforeValidator(_pieces),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        }
    ),
]
