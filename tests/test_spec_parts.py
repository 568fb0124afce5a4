"""What else looks at a spec looks at all of its parts."""

from pathlib import Path

from spec_files import CAP, frozen
from storage.spec import Job
from storage.spec.growth import add_values, extend
from storage.spec.labels import short_values
from storage.spec.notes import notes
from storage.spec.probes import probes


def test_every_value_of_every_part_is_probed(tmp_path: Path) -> None:
    axes = {"prompt": ["a", "b"], "scheduler": ["ddim"], "seed": {"count": 2}}
    spec = frozen(tmp_path, axes=axes)
    wanted = frozen(tmp_path, axes={**axes, "scheduler": ["ddim", "euler"], "seed": {"count": 3}})

    places = list(probes(Job(extend(spec, wanted, max_images=CAP))))

    assert {place.values["prompt"] for place in places} == {"a", "b"}
    assert {place.values["scheduler"]["name"] for place in places} == {"ddim", "euler"}
    assert {place.values["seed"] for place in places} == {0, 2}  # the first of each part: no model refuses a seed


def test_refiners_of_a_part_are_refiners_of_the_job(tmp_path: Path) -> None:
    before, after = (
        frozen(tmp_path, axes={"model": ["owner/one", "owner/two"], "refiner": refiners}, refiner_start=0.8)
        for refiners in ([None], [None, "owner/two"])
    )

    job = Job(extend(before, after, max_images=CAP))

    assert (Job(before).refiners, job.refiners) == (frozenset(), {"owner/two"})


def test_prompts_of_a_part_are_read_for_notes(tmp_path: Path) -> None:
    spec = frozen(tmp_path, axes={"prompt": ["a fox"]})

    longer = add_values(spec, prompts=["a (red:1.3) fox"], max_images=CAP)

    assert notes(spec) == []
    assert "weighs words" in notes(longer)[0]


def test_an_image_of_a_part_is_compared_by_the_same_axes(tmp_path: Path) -> None:
    axes = {"negative_prompt": [None], "seed": [1]}
    spec = frozen(tmp_path, axes=axes)
    job = Job(extend(spec, frozen(tmp_path, axes={**axes, "negative_prompt": [None, "blur"]}), max_images=CAP))

    said = [short_values(job.spec, place) for place in job if place is not None]

    assert [one["negative_prompt"] for one in said] == [None, "blur"]
    assert said[0].keys() == said[1].keys()
