"""What images share, and which of that their jobs declare: noise, pictures, recipes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dispatcher.auditing.collisions import Audit, Kind, audit
from dispatcher.auditing.declaring import Origins, how_declared, shared_along
from dispatcher.farm import Farm
from keeping_desk import KeepingDesk
from spec_files import CAP, frozen
from storage.settings import Settings
from storage.spec import Job
from storage.spec.growth import add_values
from storage.spec.number import number_of
from storage.spec_store import SpecStore
from storage.sql.tables import image
from storage.states import Reuse
from typed import Ended, typed

SEEDS = {"count": 4}
PROMPTS = ["a", "b", "c"]


@pytest.fixture
def desk(tmp_path: Path) -> KeepingDesk:
    return KeepingDesk.at_home(tmp_path / "home")


def made(desk: KeepingDesk, **entries: Any) -> str:
    """A job that is done, each image with pixels and looks of its own."""
    job_id = desk.rendered(**entries)
    for number, row in desk.images(job_id).items():
        if row.linked_job is None:
            told = hashlib.sha256(f"{job_id}/{number}".encode()).hexdigest()
            change(desk, job_id, number, pixel_sha256=told, phash=told[:16])
    return job_id


def change(desk: KeepingDesk, job_id: str, number: int, **columns: Any) -> None:
    with desk.database.write() as connection:
        connection.execute(update(image).where(image.c.job == job_id, image.c.number == number).values(**columns))


def look(desk: KeepingDesk, *job_ids: str, distance: int = 4) -> Audit:
    farm = Farm(Settings(home=desk.folder))
    return audit(farm, [desk.job(job_id) for job_id in job_ids], distance=distance)


def pairs(found: Audit, kind: Kind = Kind.NOISE) -> list[tuple[str, str]]:
    """Numbers of the images that collide."""
    return [
        (one.one.partition("/")[2], one.other.partition("/")[2]) for one in found.collisions if one.kind == kind
    ]  # fmt: skip


def test_seeds_that_are_crossed_with_prompts_are_shared_by_declaration(desk: KeepingDesk) -> None:
    found = look(desk, made(desk, axes={"prompt": PROMPTS, "seed": SEEDS}))

    (declared,) = found.declared
    assert found.collisions == []
    assert (declared.noises, declared.images, declared.along) == (4, 12, ["prompt"])
    assert declared.seeds == "a seed axis"


def test_one_fixed_seed_is_shared_by_all_and_said(desk: KeepingDesk) -> None:
    found = look(desk, made(desk, axes={"prompt": PROMPTS}, seed=7))

    (declared,) = found.declared
    assert (declared.seeds, declared.noises, declared.images) == ("seed 7 for all images", 1, 3)
    assert found.collisions == []


def test_derived_seeds_are_shared_along_what_they_are_not_derived_over(desk: KeepingDesk) -> None:
    axes = {"prompt": PROMPTS, "seed": {"derive": 2}, "scheduler": ["ddim", "euler"]}

    found = look(desk, made(desk, axes=axes))

    (declared,) = found.declared
    assert (declared.seeds, declared.along) == ("seeds derived over prompt, model", ["scheduler"])
    assert (declared.noises, declared.images) == (6, 12)
    assert found.collisions == []


def test_derived_seeds_that_collide_are_found(desk: KeepingDesk) -> None:
    job_id = made(desk, axes={"prompt": PROMPTS, "seed": {"derive": 2}})
    change(desk, job_id, 5, seed=desk.images(job_id)[0].seed)

    assert pairs(look(desk, job_id)) == [("0", "5")]


def test_a_seed_that_an_axis_lists_twice_is_no_declaration(desk: KeepingDesk) -> None:
    found = look(desk, made(desk, axes={"seed": [1, 2, 1]}))

    assert pairs(found) == [("0", "2")]
    assert "seed 1 at 64x64" in found.collisions[0].detail


def test_seeds_of_rows_are_shared_along_other_axes_and_never_between_rows(desk: KeepingDesk) -> None:
    entries = {"zip": [{"prompt": PROMPTS, "seed": [5, 6, 5]}], "axes": {"steps": [1, 2]}}

    found = look(desk, made(desk, **entries))

    (declared,) = found.declared
    assert declared.seeds == "seeds bound by zip with prompt"
    assert declared.along == ["steps"]
    assert pairs(found) == [("0", "2")]


def test_images_of_one_seed_and_different_sizes_share_no_noise(desk: KeepingDesk) -> None:
    found = look(desk, made(desk, axes={"width": [64, 128], "height": [64]}))

    assert found.collisions == []
    assert found.declared[0].images == 0


def test_takes_share_noise_only_where_the_images_do(tmp_path: Path) -> None:
    origins = Origins(Job(frozen(tmp_path, axes={"prompt": PROMPTS, "seed": SEEDS})))

    assert origins.of(number_of(0, take=1)) == origins.of(number_of(4, take=1))
    assert origins.of(number_of(0, take=1)) != origins.of(number_of(0, take=2))
    assert origins.of(number_of(0, take=1)) != origins.of(number_of(1, take=1))


def test_a_job_that_has_grown_keeps_what_it_declares(tmp_path: Path) -> None:
    job = Job(frozen(tmp_path, axes={"prompt": ["a", "b"], "seed": {"count": 2}}))
    longer = Job(add_values(job.spec, seeds=2, prompts=("c",), max_images=CAP))
    origins = Origins(longer)

    by_origin: dict[object, set[int]] = {}
    for place in longer:
        assert place is not None
        by_origin.setdefault(origins.of(place.number), set()).add(place.values["seed"])

    assert sorted(by_origin.values()) == [{0}, {1}, {2}, {3}]
    assert how_declared(longer) == "a seed axis"
    assert shared_along(longer) == ["prompt"]


def test_between_jobs_nothing_is_declared(desk: KeepingDesk) -> None:
    one = made(desk, axes={"seed": SEEDS, "prompt": ["a"]})
    other = made(desk, axes={"seed": {"start": 3, "count": 3}, "prompt": ["b"]})

    found = look(desk, one, other)

    assert [(c.one, c.other) for c in found.collisions] == [(f"{one}/3", f"{other}/0")]


def test_a_link_between_jobs_is_called_one(desk: KeepingDesk) -> None:
    one = made(desk, axes={"seed": SEEDS})
    other = desk.submit(reuse=Reuse.SAME_PLAN, axes={"seed": {"count": 1}})
    desk.work(other, images=1)

    found = look(desk, one, other)

    assert [one.kind for one in found.collisions] == [Kind.NOISE, Kind.EXACT]
    assert all(one.detail.endswith("one is a link to the other") for one in found.collisions)


def test_equal_pixels_are_duplicates_even_where_noise_is_shared(desk: KeepingDesk) -> None:
    job_id = made(desk, axes={"prompt": PROMPTS, "seed": SEEDS})
    same = desk.images(job_id)[0]
    change(desk, job_id, 4, pixel_sha256=same.pixel_sha256, phash=same.phash)

    found = look(desk, job_id)

    assert pairs(found, Kind.EXACT) == [("0", "4")]
    assert len(found.collisions) == 1


def test_near_duplicates_count_beyond_declared_noise(desk: KeepingDesk) -> None:
    job_id = made(desk, axes={"prompt": PROMPTS, "seed": SEEDS})
    looks = int(str(desk.images(job_id)[0].phash), 16)
    change(desk, job_id, 4, phash=f"{looks ^ 0b11:016x}")  # another prompt, the same seed
    change(desk, job_id, 5, phash=f"{looks ^ 0b1100:016x}")  # another prompt, another seed

    found, narrow = look(desk, job_id), look(desk, job_id, distance=1)

    assert pairs(found, Kind.NEAR) == [("0", "5")]
    assert found.near_declared == 1
    assert "differ in 2 of 64 bits" in found.collisions[0].detail
    assert narrow.collisions == []


def test_a_lookalike_that_is_not_declared_is_listed_behind_one_that_is(desk: KeepingDesk) -> None:
    job_id = made(desk, axes={"prompt": PROMPTS, "seed": SEEDS})
    looks = int(str(desk.images(job_id)[0].phash), 16)
    for number, bits in ((1, 0b1), (4, 0b10)):  # 4 shares the noise of 0, and not that of 1
        change(desk, job_id, number, phash=f"{looks ^ bits:016x}")

    found = look(desk, job_id)

    assert pairs(found, Kind.NEAR) == [("0", "1"), ("1", "4")]
    assert found.near_declared == 1


def test_images_that_an_extension_brought_meanwhile_are_left_out(
    desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {"prompt": PROMPTS, "seed": {"derive": 2}}
    job_id, shorter = made(desk, axes=axes), Job(frozen(desk.folder, axes={**axes, "prompt": PROMPTS[:2]}))
    for number in (4, 5):
        change(desk, job_id, number, seed=desk.images(job_id)[0].seed)
    monkeypatch.setattr(SpecStore, "load", lambda *_, **__: shorter)

    found = look(desk, job_id)

    assert (found.images, found.collisions) == (4, [])


def test_rejected_images_are_left_out(desk: KeepingDesk) -> None:
    job_id = made(desk, axes={"seed": [1, 1]})
    change(desk, job_id, 1, rejected="near_duplicate: of 0")

    found = look(desk, job_id)

    assert (found.images, found.rejected, found.collisions) == (1, 1, [])


Call = Callable[..., Ended]


@pytest.fixture
def call(desk: KeepingDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))
    return lambda *arguments: typed(capsys, *arguments)


def test_an_audit_lists_the_first_collisions_and_json_all(desk: KeepingDesk, call: Call) -> None:
    job_id = made(desk, axes={"seed": [1] * 30})

    ended, scripted, clean = call("audit", job_id), call("audit", job_id, "--json"), made(desk, axes={"seed": [1, 2]})

    assert ended.returncode == scripted.returncode == 1
    assert "not declared: 29 noises" in ended.stdout
    assert "and 9 more; --json names all" in ended.stdout
    assert len(json.loads(scripted.stdout)["collisions"]) == 29
    assert call("audit", clean).returncode == 0


def test_a_job_without_images_has_no_collisions(desk: KeepingDesk, call: Call) -> None:
    ended = call("audit", desk.submit())

    assert ended.returncode == 0
    assert ended.stdout.startswith("0 images looked at")


def test_a_diff_counts_recipes_and_says_what_the_jobs_say_differently(desk: KeepingDesk, call: Call) -> None:
    one = desk.rendered(axes={"prompt": ["a", "b"], "seed": {"count": 3}})
    other = desk.rendered(axes={"prompt": ["b", "c"], "seed": {"count": 4}}, allow_blank=True)

    said = json.loads(call("diff", one, other, "--json").stdout)

    assert (said["only_a"], said["only_b"], said["both"]) == (3, 5, 3)
    assert said["examples_a"] == ["0", "1", "2"]
    assert said["examples_b"] == ["3", "4", "5", "6", "7"]
    assert said["keys"]["prompt"] == {
        "a": {"count": 1, "examples": ["a"]}, "b": {"count": 1, "examples": ["c"]},
    }  # fmt: skip
    assert said["keys"]["seed"] == {"a": {"count": 0, "examples": []}, "b": {"count": 1, "examples": [3]}}
    assert said["words"] == {"allow_blank": {"a": False, "b": True}}


def test_a_diff_reads_as_lines_and_ends_with_one_where_recipes_differ(desk: KeepingDesk, call: Call) -> None:
    one = desk.rendered(axes={"prompt": ["a"], "steps": [1, 2]})
    other = desk.rendered(axes={"prompt": ["a"], "seed": {"derive": 2}}, steps=2, allow_blank=True)

    differs, same = call("diff", one, other), call("diff", one, one)

    assert differs.returncode == 1
    assert "recipes: 2 only in A, 2 only in B, 0 in both" in differs.stdout
    assert "2 derived, over prompt, model, job seed 0" in differs.stdout
    assert "steps:\n  only in A: 1\n" in differs.stdout
    assert "allow_blank: false in A, true in B" in differs.stdout
    assert same.returncode == 0
    assert "0 only in A, 0 only in B, 2 in both" in same.stdout
