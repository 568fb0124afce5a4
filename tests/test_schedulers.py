"""The table of schedulers says what the installed diffusers says."""

import inspect
from collections import Counter

import pytest

from storage.errors import InvalidSpec
from storage.spec.schedulers import SCHEDULERS, find_scheduler


def test_every_class_and_option_is_one_of_diffusers() -> None:
    import diffusers

    wrong = {}
    for kind in SCHEDULERS.values():
        parameters = inspect.signature(getattr(diffusers, kind.diffusers_class).__init__).parameters
        if unknown := (kind.options | set(kind.preset)) - set(parameters):
            wrong[kind.name] = sorted(unknown)

    assert wrong == {}


def test_a_preset_is_made_of_options() -> None:
    assert all(set(kind.preset) <= kind.options for kind in SCHEDULERS.values())


def test_every_name_means_one_scheduler() -> None:
    names = Counter(name.casefold() for kind in SCHEDULERS.values() for name in {kind.name.casefold(), *kind.aliases})
    shared = {name: count for name, count in names.items() if count > 1}

    assert {name for name in shared if len({k.name for k in SCHEDULERS.values() if name in known(k)}) > 1} == set()


def known(kind: object) -> set[str]:
    return {name.casefold() for name in (kind.name, *kind.aliases)}  # type: ignore[attr-defined, unused-ignore]


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_a_scheduler_is_found_by_any_of_its_names(name: str) -> None:
    kind = SCHEDULERS[name]

    assert all(find_scheduler(each.swapcase()) is kind for each in (name, *kind.aliases))


def test_an_unknown_scheduler_names_the_nearest() -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'dpmpp_2m'"):
        find_scheduler("dpmp_2m")
