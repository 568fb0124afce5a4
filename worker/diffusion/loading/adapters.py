"""Small weights that are put on a pipeline and taken off again: LoRAs, textual inversions, IP-Adapters.

They change components that other pipelines share. So one set is on at a time, this is its only owner, and it comes off
before anything else is rendered.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from storage.errors import ModelUnusable, OptionRefused
from storage.models.layout import ADAPTER, ENCODER, Layout
from storage.spec import digest
from worker.faults import is_of_device
from worker.renderer import Recipe


@dataclass(frozen=True, slots=True)
class Found:
    """A model on this host."""

    source: str  # how the user named it
    layout: Layout

    @property
    def weights(self) -> Path:
        """Its only or first file of weights."""
        return next(path for name, path in self.layout.files.items() if name.endswith(".safetensors"))


@dataclass(frozen=True, slots=True)
class _Reader:
    """A text encoder with its tokenizer, and the tokens that it had of its own."""

    tokenizer: Any
    encoder: Any
    tokens: frozenset[str]


class Adapters:
    """What is on now, and on which pipeline."""

    def __init__(self) -> None:
        self._pipe: Any = None
        self._key = ""
        self._readers: list[_Reader] = []  # that may have new tokens
        self._has_eyes = False  # an IP-Adapter is on, or half on
        self._extractor: Any = None  # that the pipeline had before

    def put_on(self, pipe: Any, recipe: Recipe, *, found: Mapping[str, Found]) -> None:
        """Bring a pipeline to the adapters of a recipe, and everything else back to none.

        Args:
            pipe: That will render.
            recipe: Of the batch.
            found: Models by digest.

        Raises:
            OptionRefused: This pipeline takes no such adapter.
            ModelUnusable: An adapter does not fit.
        """
        wanted = {name: recipe[name] for name in ("loras", "embeddings", "ip_adapter") if name in recipe}
        scales = [entry["scale"] for entry in recipe.get("loras", [])]
        key = digest({**wanted, "loras": [entry["model"] for entry in recipe.get("loras", [])]}) if wanted else ""
        if key != self._key or (key and pipe is not self._pipe):
            self.take_off()
            self._pipe, self._key = pipe, key  # before: a failure half-way is taken off too
            self._load(pipe, wanted, found)
        if scales:
            pipe.set_adapters([_name(place) for place in range(len(scales))], scales)
        if "ip_adapter" in recipe:
            pipe.set_ip_adapter_scale(recipe.get("ip_adapter_scale", 1.0))

    def take_off(self) -> None:
        """Back to the checkpoint's own weights."""
        pipe, self._pipe, self._key = self._pipe, None, ""
        if pipe is None:
            return
        if hasattr(pipe, "unload_lora_weights"):
            pipe.unload_lora_weights()
        for reader in self._readers:
            if added := _extra_tokens(reader.tokenizer) - reader.tokens:
                pipe.unload_textual_inversion(sorted(added), tokenizer=reader.tokenizer, text_encoder=reader.encoder)
        self._readers = []
        if self._has_eyes:
            pipe.unload_ip_adapter()
            pipe.register_modules(feature_extractor=self._extractor)  # it leaves the one that it brought
        self._has_eyes, self._extractor = False, None

    def _load(self, pipe: Any, wanted: Mapping[str, Any], found: Mapping[str, Found]) -> None:
        loaders = {
            "loras": "load_lora_weights",
            "embeddings": "load_textual_inversion",
            "ip_adapter": "load_ip_adapter",
        }
        for name, loader in loaders.items():
            if name in wanted and not hasattr(pipe, loader):
                raise OptionRefused(name, None, f"{type(pipe).__name__} takes none")
        try:
            self._load_loras(pipe, wanted.get("loras", []), found)
            self._readers = _readers_of(pipe) if "embeddings" in wanted else []
            for entry in wanted.get("embeddings", []):
                _load_embedding(pipe, found[entry["model"]], entry["token"])
            if "ip_adapter" in wanted:
                self._has_eyes, self._extractor = True, getattr(pipe, "feature_extractor", None)
                _load_ip_adapter(pipe, found[wanted["ip_adapter"]])
        except Exception:
            self.take_off()
            raise

    def _load_loras(self, pipe: Any, entries: list[dict[str, Any]], found: Mapping[str, Found]) -> None:
        for place, entry in enumerate(entries):
            name, model = _name(place), found[entry["model"]]
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # more than one is meant
                warnings.filterwarnings("ignore", message="Adapter .* was active")  # of one that does not fit
                try:
                    pipe.load_lora_weights(str(model.weights.parent), weight_name=model.weights.name, adapter_name=name)
                except (ValueError, KeyError, RuntimeError, TypeError) as error:
                    if is_of_device(error):
                        raise
                    raise ModelUnusable(model.source, f"does not fit {type(pipe).__name__}: {_line(error)}") from error


def _name(place: int) -> str:
    """What peft knows the LoRA by that stands at a place of the recipe's list."""
    return f"adapter_{place}"


@contextlib.contextmanager
def without_loras(pipe: Any) -> Iterator[None]:
    """Let the LoRAs rest that were put on parts which a pipeline shares with the one that they were meant for."""
    dressed = [part for part in pipe.components.values() if getattr(part, "_hf_peft_config_loaded", False)]
    try:
        for part in dressed:
            part.disable_adapters()
        yield
    finally:
        for part in dressed:
            part.enable_adapters()


def _readers_of(pipe: Any) -> list[_Reader]:
    pairs = [(getattr(pipe, f"tokenizer{end}", None), getattr(pipe, f"text_encoder{end}", None)) for end in ("", "_2")]
    there = [(tokenizer, encoder) for tokenizer, encoder in pairs if tokenizer is not None and encoder is not None]
    return [_Reader(tokenizer, encoder, _extra_tokens(tokenizer)) for tokenizer, encoder in there]


def _extra_tokens(tokenizer: Any) -> frozenset[str]:
    return frozenset(token.content for token in tokenizer.added_tokens_decoder.values())


def _load_embedding(pipe: Any, model: Found, token: str) -> None:
    state = load_file(model.weights)
    encoders = {"clip_l": ("text_encoder", "tokenizer"), "clip_g": ("text_encoder_2", "tokenizer_2")}
    try:
        if not set(encoders) & set(state):
            pipe.load_textual_inversion(state, token=token)
            return
        for name, (encoder, tokenizer) in encoders.items():
            if name in state and getattr(pipe, encoder, None) is not None:
                pipe.load_textual_inversion(
                    state[name], token=token, text_encoder=getattr(pipe, encoder), tokenizer=getattr(pipe, tokenizer)
                )
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        if is_of_device(error):
            raise
        raise ModelUnusable(model.source, f"does not fit {type(pipe).__name__}: {_line(error)}") from error


def _load_ip_adapter(pipe: Any, model: Found) -> None:
    adapter = model.layout.files[ADAPTER]
    encoder = next(path for name, path in model.layout.files.items() if name.startswith(f"{ENCODER}/"))
    try:
        pipe.load_ip_adapter(
            str(adapter.parent), subfolder="", weight_name=adapter.name, image_encoder_folder=str(encoder.parent)
        )
    except (ValueError, KeyError, RuntimeError, TypeError, OSError) as error:
        if is_of_device(error):
            raise
        raise ModelUnusable(model.source, f"does not fit {type(pipe).__name__}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
