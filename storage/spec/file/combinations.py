"""Rules that bind several keys: checked over every combination that a job makes of them, before anything is queued."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from storage.errors import InvalidSpec
from storage.spec.dimension import Dimension, Factor
from storage.spec.exclusion import is_excluded
from storage.spec.fields import FIELDS, MODES
from storage.spec.job import Spec
from storage.spec.schedulers import SCHEDULERS, check_steps

MAX_COMBINATIONS = 100_000  # of one rule's keys; beyond, the worker finds what is left


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold between some keys. `broken` gives the sentence, or None."""

    keys: tuple[str, ...]  # the first one is named in the message
    broken: Callable[[Mapping[str, Any]], str | None]


def check_mode(mode: str, fixed: Mapping[str, Any], dimensions: Sequence[Dimension]) -> None:
    """Refuse axes that the mode has no use for, and keys whose partner nobody gives. Raises InvalidSpec."""
    bound = {key: dimension for dimension in dimensions for key in dimension.keys}
    for key in bound:
        if mode not in FIELDS[key].modes:
            where = ", ".join(one for one in MODES if one in FIELDS[key].modes)
            raise InvalidSpec(f"axes.{key}", None, f"has no place in mode {mode}; only in {where}")
    given = set(bound) | {key for key, value in fixed.items() if value not in (None, [])}
    for key in sorted(given):
        needed = FIELDS[key].needs
        if needed is not None and needed not in given:
            raise InvalidSpec(key, None, f"does nothing without {needed}; give both")
    if "controlnet" in given and "control_image" not in given:
        raise InvalidSpec("control_image", None, "missing; a ControlNet follows a picture")
    if "refiner" in given and not given & {"refiner_start", "refiner_strength"}:
        raise InvalidSpec("refiner", None, "needs refiner_start (0.8: it does the last fifth) or refiner_strength")


def check_combinations(spec: Spec, factors: Sequence[Factor]) -> None:
    """Hold every rule over every combination of its keys. Raises InvalidSpec with the first that breaks it.

    Args:
        spec: What it says beside its axes.
        factors: The product to look at.
    """
    for rule in _RULES:
        for values in islice(_combinations(spec, factors, rule.keys), MAX_COMBINATIONS):
            sentence = rule.broken(values)
            if sentence is not None:
                raise InvalidSpec(rule.keys[0], values.get(rule.keys[0]), sentence)


def _combinations(spec: Spec, factors: Sequence[Factor], keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What the job says of these keys together, each combination once, excluded ones left out."""
    mine = [factor for factor in factors if set(factor.keys) & set(keys)]
    clauses = [clause for clause in spec.exclude if set(clause) <= _names(mine)]
    for places in product(*(range(len(dimension)) for dimension in mine)):
        bindings = [dimension.at(place) for dimension, place in zip(mine, places, strict=True)]
        if not is_excluded(bindings, clauses):
            bound = {key: value for binding in bindings for key, value in binding.values.items()}
            yield {key: bound.get(key, spec.fixed.get(key)) for key in keys}


def _names(dimensions: Sequence[Factor]) -> set[str]:
    """Keys and labels; a clause that speaks of others too leaves no combination of these out."""
    probes = [dimension.at(0) for dimension in dimensions]
    return {name for probe in probes for name in (*probe.values, *probe.labels)}


def _strength(values: Mapping[str, Any]) -> str | None:
    strength, steps = values["strength"], values["steps"]
    if strength is None or int(steps * strength) >= 1:
        return None
    return f"of {steps} steps leaves none to do; strength x steps must be at least 1"


def _steps(values: Mapping[str, Any]) -> str | None:
    scheduler = values["scheduler"]
    if scheduler is None:
        return None
    kind = SCHEDULERS[scheduler["name"]]
    return check_steps(kind, {**kind.preset, **scheduler["options"]}, values["steps"])


def _eta(values: Mapping[str, Any]) -> str | None:
    scheduler = values["scheduler"]
    if values["eta"] is None or scheduler is None or SCHEDULERS[scheduler["name"]].takes_eta:
        return None
    able = ", ".join(kind.name for kind in SCHEDULERS.values() if kind.takes_eta)
    return f"does nothing with scheduler {scheduler['name']}; only with {able}"


def _schedule(values: Mapping[str, Any]) -> str | None:
    if values["timesteps"] is None or values["sigmas"] is None:
        return None
    return "and sigmas are two ways to say one thing; keep one"


def _cutoff(values: Mapping[str, Any]) -> str | None:
    cutoff, steps = values["cfg_cutoff"], values["steps"]
    if cutoff is None or cutoff.get("step", 0) < steps:
        return None
    return f"is past the last of {steps} steps"


def _window(values: Mapping[str, Any]) -> str | None:
    start, end = values["control_guidance_start"], values["control_guidance_end"]
    if (start or 0.0) < (1.0 if end is None else end):
        return None
    return f"must be below control_guidance_end ({end})"


def _control(values: Mapping[str, Any]) -> str | None:
    if values["controlnet"] is None or values["control_image"] is not None:
        return None
    return "has no control_image to follow at some places; leave those out, or make controlnet null there"


def _unused_refiner(values: Mapping[str, Any]) -> str | None:
    if values["refiner"] is None or (values["refiner_start"], values["refiner_strength"]) != (None, None):
        return None
    return "needs refiner_start or refiner_strength at every place; make refiner null where it rests"


def _refiner(values: Mapping[str, Any]) -> str | None:
    if values["refiner_start"] is None or values["refiner_strength"] is None:
        return None
    return "and refiner_strength are two ways to refine; keep one"


_RULES = (
    Rule(("strength", "steps"), _strength),
    Rule(("refiner_strength", "refiner_steps", "steps"), lambda values: _strength({
        "strength": values["refiner_strength"], "steps": values["refiner_steps"] or values["steps"],
    })),
    Rule(("steps", "scheduler"), _steps),
    Rule(("eta", "scheduler"), _eta),
    Rule(("timesteps", "sigmas"), _schedule),
    Rule(("cfg_cutoff", "steps"), _cutoff),
    Rule(("control_guidance_start", "control_guidance_end"), _window),
    Rule(("controlnet", "control_image"), _control),
    Rule(("refiner_start", "refiner_strength"), _refiner),
    Rule(("refiner", "refiner_start", "refiner_strength"), _unused_refiner),
)  # fmt: skip
