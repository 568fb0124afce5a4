"""A job that is extended keeps every image where it was; what is new comes after, each combination once."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec_files import CAP, frozen, job_files
from storage.errors import InvalidSpec
from storage.spec import Job, Place, Spec, canonical
from storage.spec.fields import check_value
from storage.spec.growth import add_values, extend

AT_ONCE = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
MORE: dict[str, list[Any]] = {  # values that `job_files` never draws, or draws too: both must work
    "prompt": ["x", "y", "a", "é"], "negative_prompt": ["x", "b"], "seed": [60, 61, 3], "steps": [5, 6, 2],
    "width": [72, 64], "scheduler": ["unipc", "ddim"], "guidance_scale": [9, 1.5],
    "cfg_cutoff": [0.25, {"step": 0}], "clip_skip": [3, 1],
}  # fmt: skip


def longer_lists(data: st.DataObject, lists: dict[str, Any]) -> dict[str, Any]:
    """Axes of a file with more values, anywhere in the lists."""
    grown: dict[str, Any] = {}
    for key, source in lists.items():
        if isinstance(source, dict):
            count = "derive" if "derive" in source else "count"
            grown[key] = {**source, count: source[count] + data.draw(st.integers(0, 3))}
        else:
            more = data.draw(st.lists(st.sampled_from(MORE.get(key, source)), max_size=2 if key in MORE else 0))
            order = data.draw(st.permutations(range(len(source) + len(more))))
            grown[key] = [[*source, *more][place] for place in order]
    return grown


def longer_file(data: st.DataObject, entries: dict[str, Any]) -> dict[str, Any]:
    """The same job file after somebody added values to its axes and rows to its zips."""
    zips = []
    for axes in entries.get("zip", []):
        rows = len(next(iter(axes.values())))
        more = [data.draw(st.integers(0, 5)) for _ in range(data.draw(st.integers(0, 2)))]
        pools = {key: [*source, *MORE.get(key, [])] for key, source in axes.items()}
        order = data.draw(st.permutations(range(rows + len(more))))
        longer = {
            key: [*source, *(pools[key][pick % len(pools[key])] for pick in more)] for key, source in axes.items()
        }
        zips.append({key: [values[place] for place in order] for key, values in longer.items()})
    return {**entries, "axes": longer_lists(data, entries["axes"]), "zip": zips}


def spec_of(folder: Path, entries: dict[str, Any]) -> Spec:
    """Frozen, with exclusions that may leave nothing."""
    spec = frozen(folder, **{key: value for key, value in entries.items() if key != "exclude"})
    clauses = [
        {key: [check_value(key, value, path=key)] for key, value in clause.items()}
        for clause in entries.get("exclude", [])
    ]
    return replace(spec, exclude=tuple(clauses))


def said(job: Job) -> Counter[bytes]:
    """What the images of a job are, wherever they stand."""
    return Counter(canonical([place.values, place.labels, place.replicate]) for place in job if place is not None)


@AT_ONCE
@given(data=st.data(), entries=job_files())
def test_an_extension_moves_nothing_and_adds_every_new_combination_once(
    tmp_path: Path, data: st.DataObject, entries: dict[str, Any]
) -> None:
    spec = spec_of(tmp_path, entries)
    jobs = [Job(spec)]

    for _ in range(2):
        entries = longer_file(data, entries)
        wanted = spec_of(tmp_path, entries)
        if Job(wanted).images == Job(spec).images and len(Job(wanted)) > len(Job(spec)):
            with pytest.raises(InvalidSpec, match="leaves none"):
                extend(spec, wanted, max_images=CAP)
            return
        spec = extend(spec, wanted, max_images=CAP)
        jobs.append(Job(Spec.from_json(json.loads(canonical(spec.to_json())))))

        assert said(jobs[-1]) == said(Job(wanted))
    for before, after in itertools.pairwise(jobs):
        assert list(after)[: len(before)] == list(before)
        order = [after.number_at(position) for position in range(after.positions)]
        assert order[: before.positions] == [before.number_at(position) for position in range(before.positions)]
        assert sorted(order) == list(range(len(after)))
        assert after.images == sum(place is not None for place in after)
        assert after.company == before.company
        for product in after.products:
            indices = {product.index_at(position) for position in range(product.positions)}
            assert indices == set(range(len(product)))


@AT_ONCE
@given(data=st.data(), entries=job_files(exclude=False), wanted=st.integers(1, 9))
def test_a_sample_is_taken_of_every_part(
    tmp_path: Path, data: st.DataObject, entries: dict[str, Any], wanted: int
) -> None:
    spec = replace(spec_of(tmp_path, entries), sample=wanted)

    longer = extend(spec, spec_of(tmp_path, longer_file(data, entries)), max_images=CAP)

    before, job = Job(spec), Job(longer)
    order = [job.number_at(position) for position in range(job.positions)]
    assert order[: before.positions] == [before.number_at(position) for position in range(before.positions)]
    assert len(set(order)) == job.positions == job.images
    assert job.positions == sum(min(wanted, len(product)) for product in job.products)


@pytest.mark.parametrize("more", [{"axes": {"prompt": ["a"], "seed": {"derive": 8}}}, None], ids=["a file", "--seeds"])
def test_derived_seeds_go_on_with_the_next_replicates(tmp_path: Path, more: dict[str, Any] | None) -> None:
    spec = frozen(tmp_path, axes={"prompt": ["a"], "seed": {"derive": 4}})
    whole = Job(frozen(tmp_path, axes={"prompt": ["a"], "seed": {"derive": 8}}))

    if more is None:
        longer = add_values(spec, seeds=4, max_images=CAP)
    else:
        longer = extend(spec, frozen(tmp_path, **more), max_images=CAP)

    assert [place.replicate for place in Job(longer) if place] == list(range(8))
    assert list(Job(longer)) == list(whole)


def values_of(spec: Spec, key: str) -> list[Any]:
    return [place.values[key] for place in Job(spec) if place]


@pytest.mark.parametrize(
    ("seed", "more"),
    [
        pytest.param({"count": 2}, [2, 3, 4], id="a range"),
        pytest.param({"start": 5, "count": 2, "step": 10}, [25, 35, 45], id="a range with steps"),
        pytest.param([7, 3], [8, 9, 10], id="a list"),
    ],
)
def test_more_seeds_follow_the_last_one(tmp_path: Path, seed: Any, more: list[int]) -> None:
    spec = frozen(tmp_path, axes={"seed": seed})

    once = add_values(spec, seeds=2, max_images=CAP)
    twice = add_values(once, seeds=1, max_images=CAP)

    assert values_of(twice, "seed")[2:] == more
    assert [product.first for product in Job(twice).products] == [0, 2, 4]


def test_more_seeds_after_a_list_that_a_file_made_longer(tmp_path: Path) -> None:
    spec = extend(
        frozen(tmp_path, axes={"seed": {"count": 2}}), frozen(tmp_path, axes={"seed": [9, 1, 0]}), max_images=CAP
    )

    assert values_of(add_values(spec, seeds=2, max_images=CAP), "seed") == [0, 1, 9, 10, 11]


def test_a_prompt_is_drawn_with_all_that_the_other_axes_have(tmp_path: Path) -> None:
    spec = add_values(
        frozen(tmp_path, axes={"seed": {"count": 2}, "prompt": ["a", "b"]}), seeds=1, max_images=CAP
    )  # fmt: skip

    longer = add_values(spec, prompts=["b", "c", "c"], max_images=CAP)

    new = [(place.values["prompt"], place.values["seed"]) for place in Job(longer) if place and place.number >= 6]
    assert new == [("c", 0), ("c", 1), ("c", 2)]


def test_seeds_and_prompts_at_once_meet(tmp_path: Path) -> None:
    spec = frozen(tmp_path, axes={"prompt": ["a"], "seed": {"count": 1}})

    longer = Job(add_values(spec, seeds=1, prompts=["b"], max_images=CAP))

    found = [(place.values["prompt"], place.values["seed"]) for place in longer if place]
    assert found == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_a_prompt_beside_a_template_has_empty_labels(tmp_path: Path) -> None:
    template = {"template": "a {mood} fox", "values": {"mood": ["happy", "sad"]}}
    spec = frozen(tmp_path, axes={"prompt": template, "seed": [0, 1]}, exclude=[{"mood": "sad", "seed": 1}])

    longer = add_values(spec, prompts=["a plain fox", "a sad fox"], max_images=CAP)
    grown = {**template, "values": {"mood": ["sad", "angry", "happy"]}}
    longest = extend(
        longer, frozen(tmp_path, axes={"prompt": grown, "seed": [0, 1]}, exclude=list(spec.exclude)), max_images=CAP
    )

    assert [place.labels["mood"] for place in Job(longest) if place] == [
        "happy",
        "happy",
        "sad",
        "",
        "",
        *["angry"] * 2,
    ]
    assert Job(longest).images == 7


def test_every_list_of_a_template_may_grow(tmp_path: Path) -> None:
    def file(moods: list[str], places: list[str]) -> Spec:
        values = {"mood": moods, "place": places}
        return frozen(tmp_path, axes={"prompt": {"template": "a {mood} fox in {place}", "values": values}})

    wanted = file(["sad", "new", "happy"], ["town", "woods", "sea"])

    job = Job(extend(file(["happy", "sad"], ["town"]), wanted, max_images=CAP))

    assert said(job) == said(Job(wanted))
    assert [len(product) for product in job.products] == [2, 1, 6]


def table(folder: Path, *rows: str) -> Spec:
    (folder / "captions.csv").write_text("\n".join(["caption,class", *rows]))
    rest = {"rows": {"file": "captions.csv", "bind": {"prompt": "caption"}, "labels": ["class"]}}
    return frozen(folder, **rest, axes={"seed": {"count": 2}})


def test_rows_that_are_new_make_a_part(tmp_path: Path) -> None:
    spec = table(tmp_path, "a fox,animal", "a car,thing")

    job = Job(extend(spec, table(tmp_path, "a hare,animal", "a car,thing", "a fox,animal"), max_images=CAP))

    new = [(place.values["prompt"], place.labels["class"]) for place in job if place and place.number >= 4]
    assert new == [("a hare", "animal"), ("a hare", "animal")]


def test_a_row_whose_label_changed_is_gone(tmp_path: Path) -> None:
    spec = table(tmp_path, "a fox,animal")

    with pytest.raises(InvalidSpec, match=r"rows: lacks .*'class': 'animal'"):
        extend(spec, table(tmp_path, "a fox,beast"), max_images=CAP)


def test_a_zip_of_derived_seeds_goes_on(tmp_path: Path) -> None:
    def file(prompts: list[str]) -> Spec:
        return frozen(tmp_path, zip=[{"prompt": prompts, "seed": {"derive": len(prompts)}}])

    longer = extend(file(["a", "b"]), file(["a", "b", "c"]), max_images=CAP)

    assert list(Job(longer)) == list(Job(file(["a", "b", "c"])))


def test_the_order_of_axes_and_values_does_not_count(tmp_path: Path) -> None:
    spec = frozen(tmp_path, axes={"prompt": ["a", "b"], "seed": {"count": 3}})
    same = frozen(tmp_path, axes={"seed": [2, 0, 1], "prompt": ["b", "a"]}, name="other")

    assert extend(spec, same, max_images=CAP) is spec


def test_ten_million_images_are_extended_at_once(tmp_path: Path) -> None:
    axes = {"scheduler": ["ddim", "euler"], "seed": {"count": 5_000_000}}
    spec = frozen(tmp_path, axes=axes)

    longer = extend(spec, frozen(tmp_path, axes={**axes, "seed": {"count": 9_000_000}}), max_images=CAP)

    assert len(Job(longer)) == 18_000_000
    assert len(canonical(longer.to_json())) < len(canonical(spec.to_json())) + 200
    place = Job(longer)[17_999_999]
    assert isinstance(place, Place)
    assert place.values["seed"] == 8_999_999


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        pytest.param({}, "e48f49291b20c3bd03e34e8bf8fd367052fcbb37782a0b7ec59ba7018f531633", id="plain"),
        pytest.param(
            {
                "axes": {
                    "prompt": {"template": "a {mood} fox", "values": {"mood": ["happy", "sad"]}},
                    "seed": {"derive": 4},
                },
                "seed": 3, "exclude": [{"mood": "sad"}],
            },
            "54ecb7461202b9da7def4bb8248d9546e2a1d58aae2f19db760054fd592a693e", id="labels and derived seeds",
        ),
        pytest.param(
            {
                "axes": {"seed": {"start": 2, "count": 5}, "scheduler": ["ddim", "euler"]},
                "zip": [{"width": [64, 128], "height": [128, 64]}], "plan": {"batch": 2}, "previews": {"every": 2},
                "reuse": "off", "smaller_plans": True, "name": "odd",
            },
            "e45df96ff935d3fd7ae8d619cd3584e10fbf605f635b9a564f8c92e90ddaecc8", id="much",
        ),
    ],
)  # fmt: skip
def test_a_spec_keeps_its_hash_for_ever(tmp_path: Path, entries: dict[str, Any], wanted: str) -> None:
    assert frozen(tmp_path, model="owner/one", **entries).hash == wanted
