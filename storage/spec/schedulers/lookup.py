"""From a name to an entry of the list, and what an entry refuses."""

from collections.abc import Mapping
from typing import Final

from storage.errors import InvalidSpec, nearest
from storage.spec.schedulers.diffusion import DIFFUSION
from storage.spec.schedulers.flow import FLOW
from storage.spec.schedulers.kind import SchedulerKind
from storage.spec.schedulers.options import SIGMAS

SCHEDULERS: Mapping[str, SchedulerKind] = {kind.name: kind for kind in (*DIFFUSION, *FLOW)}
_BY_ALIAS = {alias.casefold(): kind for kind in SCHEDULERS.values() for alias in (kind.name, *kind.aliases)}
_ADAPTIVE = "it chooses its own steps, so it has no number of them; "
_NOT_THE_SAME: Final[Mapping[str, str]] = {
    "dpm fast": _ADAPTIVE + "dpmpp_2m is quick too",
    "dpm adaptive": _ADAPTIVE + "dpmpp_2m is quick too",
    "restart": "diffusers has no such algorithm; heun comes near",
    "dpm++ 2s a": "diffusers has no ancestral form of it; dpmpp_2s draws no noise, dpmpp_2s_sde draws some",
    "dpm++ 3m sde": "diffusers' third order is another formula; dpmpp_2m_sde has two orders",
    "ddim cfg++": "diffusers has no such algorithm; ddim comes near",
}  # fmt: skip
_SCHEDULES: Final = (" karras", " exponential", " sgm uniform", " beta")
_DISTILLED: Final = ("LCMScheduler", "TCDScheduler")
_ORIGINAL_STEPS: Final = 50  # of which those take their own


def find_scheduler(name: str, *, path: str = "scheduler") -> SchedulerKind:
    """Look a scheduler up by its short name or by the name other tools use for it.

    Args:
        name: Such as "euler_a" or "Euler a"; case does not matter.
        path: Where the name stood, for the message.

    Raises:
        InvalidSpec: No such scheduler, or one that diffusers has not.
    """
    folded = name.casefold()
    kind = _BY_ALIAS.get(folded)
    if kind is not None:
        return kind
    plain = next((folded.removesuffix(each) for each in _SCHEDULES if folded.endswith(each)), folded)
    if plain in _NOT_THE_SAME:
        raise InvalidSpec(path, name, f"cannot be drawn: {_NOT_THE_SAME[plain]}")
    raise InvalidSpec(path, name, f"unknown scheduler; {nearest(name, SCHEDULERS)}")


def check_options(kind: SchedulerKind, options: Mapping[str, object], *, path: str) -> None:
    """Refuse a constructor option that the class does not have, or that cannot go with another.

    Raises:
        InvalidSpec: With the nearest option, or with the other one.
    """
    for option, value in options.items():
        if option not in kind.options:
            hint = nearest(option, kind.options)
            raise InvalidSpec(f"{path}.{option}", value, f"unknown option of {kind.name}; {hint}")
    whole = {**kind.preset, **options}
    spacings = sorted(option for option in SIGMAS if whole.get(option))
    if len(spacings) > 1:
        raise InvalidSpec(path, kind.name, f"{' and '.join(spacings)} are two spacings of the steps; keep one")
    if str(whole.get("algorithm_type", "")).startswith("sde") and whole.get("solver_order", 2) == 3:
        raise InvalidSpec(f"{path}.solver_order", 3, "must be 1 or 2 with an sde algorithm; diffusers' third is wrong")


def check_steps(kind: SchedulerKind, options: Mapping[str, object], steps: int) -> str | None:
    """Why a scheduler cannot take that many steps; None if it can."""
    if kind.diffusers_class in _DISTILLED:
        most = options.get("original_inference_steps", _ORIGINAL_STEPS)
        if isinstance(most, int) and steps > most:
            return f"scheduler {kind.name} takes at most {most}, its original_inference_steps"
    return None
