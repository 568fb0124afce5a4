"""The ladder of plans, from the one that a job began with down to the one that needs the least memory. Pure.

Halves of the batch first, which change no step of the pipeline; then a VAE in slices and tiles.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from storage.spec.plan import Plan

_SAVERS = ("vae_slicing", "vae_tiling")
_FREE = {"batch": 1, "threads": 1, "vae_slicing": False, "vae_tiling": False}  # what two plans to compare may differ in


def smaller(plan: Plan, pins: Mapping[str, Any]) -> Plan | None:
    """The next rung down, or None at the foot of the ladder.

    Args:
        plan: Where we stand.
        pins: What the job fixes under `plan:`. The batch is halved all the same (whether that is allowed is asked
            before), a VAE that the job wants whole stays whole.
    """
    if plan.batch > 1:
        return plan.model_copy(update={"batch": plan.batch // 2})
    savers = {name: True for name in _SAVERS if name not in pins and not getattr(plan, name)}
    return plan.model_copy(update=savers) if savers else None


def ladder(base: Plan, pins: Mapping[str, Any]) -> Iterator[Plan]:
    """Every rung, the base first."""
    rung: Plan | None = base
    while rung is not None:
        yield rung
        rung = smaller(rung, pins)


def holds(plan: Plan, limits: Iterable[Plan]) -> bool:
    """Whether a device that ran out of memory with these plans may hold that one: none of them needs as little."""
    return not any(_needs_no_less(plan, limit) for limit in limits)


def plan_for(base: Plan, limits: Iterable[Plan], *, may_shrink: bool, pins: Mapping[str, Any]) -> Plan | None:
    """The largest plan that a device may hold, or None if it can hold no allowed one.

    Args:
        base: The plan of the job for that size of image.
        limits: Plans that ran out of memory on such a device, for the same checkpoint and size.
        may_shrink: Whether another plan than the base is allowed.
        pins: What the job fixes under `plan:`.
    """
    known = list(limits)
    rungs = ladder(base, pins) if may_shrink else iter([base])
    return next((rung for rung in rungs if holds(rung, known)), None)


def foot(base: Plan, *, may_shrink: bool, pins: Mapping[str, Any]) -> Plan:
    """The smallest allowed plan."""
    return list(ladder(base, pins))[-1] if may_shrink else base


def words(plan: Plan) -> str:
    """What of a plan decides how much memory it needs, for people."""
    more = [name for name in (*_SAVERS, "compile") if getattr(plan, name)]
    more += [f"offload {plan.offload}"] if plan.offload != "none" else []
    return ", ".join([f"batch {plan.batch}", plan.dtype, *more])


def _needs_no_less(plan: Plan, limit: Plan) -> bool:
    if plan.model_copy(update=_FREE) != limit.model_copy(update=_FREE) or plan.batch < limit.batch:
        return False
    return all(getattr(limit, name) or not getattr(plan, name) for name in _SAVERS)
