"""What a batch is drawn with: from a recipe's digests to pipelines that are loaded, built and dressed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPImageProcessor

from storage.errors import OptionRefused
from storage.models.digests import Hashes
from storage.spec.fields import INPAINT
from storage.spec.plan import Plan
from worker.diffusion.loading.adapters import Adapters, Found
from worker.diffusion.loading.families import misfit, pipeline_class
from worker.diffusion.loading.parts import Parts
from worker.diffusion.loading.residents import Key, Resident, Residents
from worker.diffusion.memory import placement, prepare
from worker.diffusion.preview import frames
from worker.renderer import Recipe


@dataclass(frozen=True, slots=True)
class Easel:
    """The pipelines of one batch. Others use them too: a call works on shallow copies."""

    base: Any
    refiner: Any | None
    resident: Resident
    keys: Sequence[Key]  # of the checkpoints

    @property
    def pipes(self) -> Sequence[Any]:
        """One or two."""
        return [self.base] if self.refiner is None else [self.base, self.refiner]

    def preview(self, recipe: Recipe) -> Callable[[Tensor], Tensor]:
        """What turns latents of this batch into the bytes of small pictures."""
        return lambda latents: frames(
            self.base, self.resident.latent_map, latents, size=(recipe["height"], recipe["width"])
        )


class Studio:
    """The pipelines of one device, and all that can be put on them."""

    def __init__(self, hashes: Hashes, device: torch.device, *, limit: int) -> None:
        """Keep up to `limit` checkpoints loaded on `device`."""
        self.found: dict[str, Found] = {}  # models on this host, by digest
        self._device = device
        self._parts = Parts(hashes, device)
        self._residents = Residents(limit)
        self._adapters = Adapters()

    def digests(self) -> list[str]:
        """Of the loaded checkpoints, the most recently used last."""
        return self._residents.digests()

    def set_up(self, recipe: Recipe, plan: Plan) -> Easel:
        """Load what a recipe names.

        Raises:
            ModelUnusable: Something cannot be loaded, or does not fit.
            OptionRefused: These weights cannot do that.
        """
        kind = self._class(recipe)  # first: what cannot be drawn is not worth loading
        key = _key(recipe["model"], plan)
        needed = [key] if "refiner" not in recipe else [key, _key(recipe["refiner"], plan)]
        if any(each not in self._residents for each in needed):
            self._adapters.take_off()  # what leaves must not keep a dressed part alive
        resident = self._residents.get(key, lambda: self._load(recipe["model"], plan))
        base = self._shell(kind, resident, recipe, plan)
        refiner = None
        if "refiner" in recipe:
            second = self._residents.get(
                _key(recipe["refiner"], plan), lambda: self._load(recipe["refiner"], plan), spare=key
            )
            refiner = self._refiner(second, recipe, plan)
        easel = Easel(base, refiner, resident, needed)
        self.put_on(easel, recipe)
        return easel

    def make_room(self, keep: Easel | None) -> bool:
        """Give back the memory of everything but what `keep` needs. Returns whether there was anything."""
        if keep is None:
            self._adapters.take_off()
        return self._residents.keep([] if keep is None else keep.keys)

    def put_on(self, easel: Easel, recipe: Recipe) -> None:
        """Dress the base with a recipe's adapters. Raises ModelUnusable, OptionRefused."""
        self._adapters.put_on(easel.base, recipe, found=self.found)

    def _load(self, digest: str, plan: Plan) -> Resident:
        found, dtype = self.found[digest], getattr(torch, plan.dtype)
        pipe = self._parts.checkpoint(found.layout, source=found.source, dtype=dtype, placement=placement(plan))
        if plan.offload == "none":
            pipe.to(self._device)
        prepare(pipe, plan, self._device)
        return Resident(pipe, dtype)

    def _class(self, recipe: Recipe) -> Any:
        family = self.found[recipe["model"]].layout.family
        return pipeline_class(family, recipe["mode"], controlnet="controlnet" in recipe)

    def _shell(self, kind: Any, resident: Resident, recipe: Recipe, plan: Plan) -> Any:
        extra, key = {}, []
        for name in ("vae", "controlnet", "safety_checker"):
            if name in recipe:
                extra[name] = self.component(recipe[name], plan, beside=resident.pipe)
                problem = misfit(name, extra[name], resident.pipe, kind=kind)
                if problem is not None:
                    raise OptionRefused(name, None, problem)
                key.append(f"{name}={recipe[name]}")
        if "safety_checker" in extra:
            side = extra["safety_checker"].config.vision_config.image_size
            extra["feature_extractor"] = CLIPImageProcessor(
                size={"shortest_edge": side}, crop_size={"height": side, "width": side}
            )
        shell = resident.shell(kind, extra, key=tuple(key))
        for name in extra:
            if name not in shell.components:
                raise OptionRefused(name, None, f"{kind.__name__} has no place for one; take it out")
        return shell

    def component(self, digest: str, plan: Plan, *, beside: Any) -> Any:
        """A VAE, ControlNet or safety checker for a pipeline. Raises ModelUnusable."""
        found, dtype = self.found[digest], getattr(torch, plan.dtype)
        return self._parts.component(found.layout, source=found.source, dtype=dtype, beside=beside)

    def _refiner(self, resident: Resident, recipe: Recipe, plan: Plan) -> Any:
        family = self.found[recipe["refiner"]].layout.family
        mode = INPAINT if recipe["mode"] == INPAINT else "image-to-image"
        kind = pipeline_class(family, mode)
        if "XL" not in kind.__name__:
            raise OptionRefused("refiner", None, f"a {family} is no SDXL refiner")
        if "vae" not in recipe:
            return resident.shell(kind, {}, key=())
        vae = self.component(recipe["vae"], plan, beside=resident.pipe)  # the refiner decodes
        return resident.shell(kind, {"vae": vae}, key=(f"vae={recipe['vae']}",))


def _key(digest: str, plan: Plan) -> Key:
    return Key(digest, plan.dtype, placement(plan))
