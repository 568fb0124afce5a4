"""Successors of rejected images in a whole farm: real processes, the fake renderer, one worker or three."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_desk import Desk
from storage.spec.number import number_of, seed_of_take

PER_PROMPT = 6  # images
RULES = {"low_variance": "reject", "exact_duplicate": "reject", "on_reject": "next_seed", "tries": 3}
BLANK = [1]  # seeds
FLAT = [4, seed_of_take(4, take=1)]


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(name: str, **variables: Any) -> Desk:
        desks.append(Desk(tmp_path / name, **variables))
        (desks[-1].folder / "model" / "fake.json").write_text(
            json.dumps({"width": 32, "height": 32, "blank_seeds": BLANK, "flat_seeds": FLAT})
        )
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def test_successors_are_the_same_with_one_worker_and_with_three(
    make_desk: Callable[..., Desk], postgres_url: str
) -> None:
    changes = {
        "axes": {"prompt": ["a fox", "two foxes"], "seed": {"count": PER_PROMPT}}, "quality": RULES,
        "plan": {"batch": 2, "threads": 1},
    }  # fmt: skip
    one, three = make_desk("one"), make_desk("three", FARM_DATABASE_URL=postgres_url)

    alone = one.farm("run", str(one.write_job(**changes)), "--plain")
    together = three.farm("run", str(three.write_job(**changes)), "--plain", "--devices", "cpu,cpu,cpu")

    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert together.returncode == 0, together.stdout + together.stderr
    assert "18 images made, 6 rejected, 6 low_variance" in alone.stdout
    ours, theirs = one.images(), three.images()
    rejected = {number: row.rejected for number, row in ours.items() if row.rejected}
    twice = [1, 4, PER_PROMPT + 1, PER_PROMPT + 4]
    takes = [number_of(place, take=1) for place in twice]
    takes += [number_of(place, take=2) for place in (4, PER_PROMPT + 4)]
    assert sorted(ours) == [*range(2 * PER_PROMPT), *takes]
    assert set(rejected) == {*twice, number_of(4, take=1), number_of(PER_PROMPT + 4, take=1)}
    assert {number: (row.pixel_sha256, row.rejected) for number, row in theirs.items()} == {
        number: (row.pixel_sha256, row.rejected) for number, row in ours.items()
    }
    one.check_objects(ours)
    shown = one.farm("show", "@last").stdout
    assert "rejected           6" in shown
    assert "low_variance: 6" in shown
