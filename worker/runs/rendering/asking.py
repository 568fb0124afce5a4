"""Whether the models of a job can do what it asks, before its first picture: nothing is refused at image 40,000."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from storage.errors import OptionRefused, shorten
from storage.spec import Job, ModelFacts, batch_key
from storage.spec.plan import Plan, choose_plan
from storage.spec.probes import probes
from storage.wire.messages import ModelEntry
from worker.renderer import Recipe, Renderer, StopRendering

_SHOWN: Final = 3  # prompts in a refusal
_TEXTS: Final = ("prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3")


class Load(Protocol):
    """What carries out a load, with all that may be said of its time."""

    def __call__(self, work: Callable[[], None], *, what: str) -> None:
        """Do `work`, which loads `what`."""


def check_job(
    job: Job, models: Mapping[str, ModelEntry], renderer: Renderer, *, stop: Callable[[], bool], load: Load
) -> None:
    """Ask the renderer about every value of every axis.

    Args:
        job: The job.
        models: What was found out about its models.
        renderer: Loads each checkpoint once, which the first chunk finds warm.
        stop: Whether to give up.
        load: What carries out a load.

    Raises:
        OptionRefused: An option that a model does not know, or prompts that are too long for it.
        ModelUnusable: Something cannot be loaded.
        StopRendering: Told to stop.
    """
    facts = {name: ModelFacts(**entry.model_dump()) for name, entry in models.items()}
    asked: set[tuple[Any, ...]] = set()
    read: set[tuple[Any, ...]] = set()
    long: list[tuple[Recipe, str]] = []
    for place in probes(job):
        if stop():
            raise StopRendering
        recipe = job.recipe(place, facts)
        kind, texts = batch_key(recipe), tuple(recipe.get(name) for name in _TEXTS)
        if kind not in asked:
            asked.add(kind)
            load(partial(renderer.check, recipe, plan=_likely_plan(job, recipe, renderer)), what="models")
        if recipe.get("long_prompts", "refuse") == "refuse" and texts not in read:
            read.add(texts)
            over = renderer.too_long(recipe)
            long += [(recipe, over)] if over is not None else []
    if long:
        raise OptionRefused("prompt", None, _name_offenders(long))


def _likely_plan(job: Job, recipe: Recipe, renderer: Renderer) -> Plan:
    """What the dispatcher will choose, as far as loading is concerned."""
    size = (recipe["width"], recipe["height"])
    return choose_plan(job.spec.plan, device_type=renderer.device.type, threads=1, size=size, company=1)


def _name_offenders(long: list[tuple[Recipe, str]]) -> str:
    shown = "; ".join(f"{shorten(recipe['prompt'], limit=40)} {over}" for recipe, over in long[:_SHOWN])
    more = f"; and {len(long) - _SHOWN} more" if len(long) > _SHOWN else ""
    these = "one is" if len(long) == 1 else f"{len(long)} are"
    return f"{these} too long: {shown}{more}; shorten, or set long_prompts: truncate or chunk"
