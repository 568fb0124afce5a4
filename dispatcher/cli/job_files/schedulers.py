"""The menu of schedulers, for people and scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dispatcher.cli.common import echo_json, json_option, open_farm
from storage.spec.schedulers import SCHEDULERS, SchedulerKind

_STEPS = 20  # for which model calls are counted
_TRAINING = {"diffusion": "models that predict noise (SD, SDXL, DDPM)", "flow": "models of flow (SD 3, Flux, Qwen)"}


@click.command()
@click.argument("model", required=False)
@json_option
def schedulers(model: str | None, as_json: bool) -> None:
    """List the schedulers that a job may name; of MODEL, those that fit it.

    MODEL is a folder or .safetensors file, a name of 'farm model ls', or owner/name of the hub.
    """
    kinds: Sequence[SchedulerKind] = list(SCHEDULERS.values())
    if model is not None:
        from storage.spec.schedulers import sampling_of

        wanted = sampling_of(_family(model))
        kinds = [kind for kind in kinds if wanted in (None, kind.models)]
    if as_json:
        echo_json([_for_scripts(kind) for kind in kinds])
        return
    for models in dict.fromkeys(kind.models for kind in kinds):
        click.echo(f"For {_TRAINING[models]}:\n")
        _print([kind for kind in kinds if kind.models == models])
        click.echo()
    click.echo(f"calls: of the model for {_STEPS} steps. noise: drawn in every step.")
    click.echo("Options: scheduler: {name: dpmpp_2m, solver_order: 3}; --json lists them.")


def _print(kinds: Sequence[SchedulerKind]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "calls", "noise", "needs", "also known as; notes"):
        fixed = title in ("name", "calls")
        table.add_column(title, justify="right" if title == "calls" else "left", no_wrap=fixed, overflow="fold")
    for kind in kinds:
        also = "; ".join(filter(None, [", ".join(kind.aliases), kind.note]))
        calls, noise = str(kind.model_calls(_STEPS)), "yes" if kind.stochastic else ""
        table.add_row(kind.name, calls, noise, kind.needs or "", also)
    Console().print(table)


def _family(model: str) -> str:
    """The pipeline class of a model. Raises UserError."""
    from dispatcher.registration import find
    from storage.errors import ModelMissing, ModelUnusable, UserError
    from storage.models import hub
    from storage.models.layout import inspect
    from storage.models.sources import parse_hub

    path = Path(model).expanduser()
    try:
        if path.exists():
            return inspect(path.absolute(), "checkpoint", source=model).family
        named = parse_hub(model)
        if named is not None:
            return hub.look(named, "checkpoint").outline.family
    except (ModelMissing, ModelUnusable) as error:
        raise UserError(str(error)) from None
    return find(open_farm(), model).family


def _for_scripts(kind: SchedulerKind) -> dict[str, Any]:
    return {
        "name": kind.name, "aliases": list(kind.aliases), "class": kind.diffusers_class, "models": kind.models,
        "options": sorted(kind.options), "preset": dict(kind.preset), "stochastic": kind.stochastic,
        "takes_eta": kind.takes_eta, f"calls_for_{_STEPS}_steps": kind.model_calls(_STEPS), "needs": kind.needs,
        "note": kind.note,
    }  # fmt: skip
