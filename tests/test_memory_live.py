"""A device that cannot hold a plan, with real processes: what the farm chose shrinks, what the job pinned stays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farm_desk import Desk

IMAGES = 48


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    (desk.folder / "model" / "fake.json").write_text(json.dumps({"width": 32, "height": 32, "oom_batch": 2}))
    yield desk
    desk.close()


def batches(desk: Desk) -> set[Any]:
    return {row.plan["batch"] for row in desk.images().values()}


def test_a_batch_that_the_farm_chose_is_halved_until_it_fits(desk: Desk) -> None:
    ended = desk.farm("run", str(desk.write_job(plan={})), "--plain")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sorted(desk.images()) == list(range(IMAGES))
    assert batches(desk) <= {1, 2}
    assert len(batches(desk)) == 1
    desk.check_objects(desk.images())


def test_a_batch_that_the_job_pinned_fails_with_what_would_help(desk: Desk) -> None:
    ended = desk.farm("run", str(desk.write_job()), "--plain")

    assert ended.returncode == 1
    assert {row.reason for row in desk.images().values()} == {"out_of_memory"}
    assert "needs a larger device" in ended.stderr
    assert "smaller_plans: true" in ended.stderr


def test_a_job_that_allows_smaller_plans_records_what_rendered_each_image(desk: Desk) -> None:
    ended = desk.farm("run", str(desk.write_job(smaller_plans=True)), "--plain")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert batches(desk) == {2}
    logged = desk.farm("logs").stdout
    assert "out_of_memory" in logged
