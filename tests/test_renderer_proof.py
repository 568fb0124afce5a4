"""Every mode and option of the renderer: changing it alone shows, and no bit differs from a plain diffusers call."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from renderer_bench import Bench, Models, hash_of, installed, rows
from renderer_cases import CASES, Case
from renderer_table import PAGE, written
from storage.spec.canonical import digest
from storage.spec.fields import FIELDS

# diffusers asks for an autocast that a CPU does not have, and hands numpy tensors in a way that numpy deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
]
UNTRIED = {"watermark"}  # its package is in no list of ours; test_renderer_refusals.py tells what a job hears then


class Proof:
    """Pictures of both sides, each drawn once."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._farm: dict[str, list[str]] = {}
        self._plain: dict[str, list[str]] = {}

    def farm(self, case: Case, values: Mapping[str, Any]) -> list[str]:
        key = _key(case, values)
        if key not in self._farm:
            self._farm[key] = self._bench.pixels(rows(values, case.batch), mode=case.mode)
        return self._farm[key]

    @torch.inference_mode()
    def plain(self, case: Case, values: Mapping[str, Any]) -> list[str]:
        key = _key(case, values)
        if key not in self._plain:
            made = case.plain(self._bench.folder, case.mode, rows(values, case.batch))
            self._plain[key] = [hash_of(image) for image in made]
        return self._plain[key]


def _key(case: Case, values: Mapping[str, Any]) -> str:
    return f"{case.mode} {digest(rows(values, case.batch))}"


@pytest.fixture(scope="module")
def proof(tiny_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        installed(patch, tmp_path_factory.mktemp("site"))
        yield Proof(Bench(tiny_models, tmp_path_factory.mktemp("home"), callbacks="fade, hush"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_of_one_key_shows(proof: Proof, case: Case) -> None:
    before, after = proof.farm(case, case.base), proof.farm(case, case.changed)

    assert len(after) == case.batch
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert len(set(after)) == len(after) or "safety_checker" in case.changed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_bit_differs_from_plain_diffusers(proof: Proof, case: Case) -> None:
    assert proof.farm(case, case.changed) == proof.plain(case, case.changed)
    assert proof.farm(case, case.base) == proof.plain(case, case.base)


def test_every_key_has_a_case() -> None:
    assert set(FIELDS) - {case.key for case in CASES} == UNTRIED


def test_every_case_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_the_page_of_the_renderer_is_up_to_date() -> None:
    page = PAGE.read_text()

    assert written(page) == page, "run `python -m renderer_table` in tests/"
