"""What an extension refuses: a file that changes more than values of axes, and values that a job has no axis for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spec_files import CAP, frozen
from storage.errors import InvalidSpec
from storage.spec import Job
from storage.spec.growth import add_values, extend

BASE: dict[str, Any] = {"steps": 20, "axes": {"prompt": ["a", "b"], "seed": {"count": 4}}, "exclude": [{"seed": 3}]}
NEW_JOB = "submit the file as a new job, images that exist are linked"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"steps": 30}, "steps: 20 in the job, 30 in the file", id="a fixed value"),
        pytest.param({"guidance_scale": 5}, "guidance_scale: nothing in the job, 5", id="a silent value"),
        pytest.param({"model": "owner/two"}, "model: './m' in the job, 'owner/two' in the file", id="the model"),
        pytest.param({"loras": ["owner/ink"]}, "loras: nothing in the job, [{", id="a LoRA"),
        pytest.param({"plan": {"batch": 4}}, "plan.batch: nothing in the job, 4 in the file", id="the plan"),
        pytest.param({"previews": {"every": 2}}, "previews.every: nothing in the job, 2 in the file", id="previews"),
        pytest.param({"reuse": "off"}, "reuse: 'same-plan' in the job, 'off' in the file", id="reuse"),
        pytest.param({"allow_blank": True}, "allow_blank: False in the job, True in the file", id="a switch"),
        pytest.param({"exclude": []}, "exclude: [{'seed': [3]}] in the job, [] in the file", id="exclusions"),
        pytest.param(
            {"axes": {**BASE["axes"], "steps": [20, 30]}, "steps": None},
            "axes.steps: no such axis in the job, where steps is 20", id="a new axis",
        ),
        pytest.param(
            {"axes": {"seed": {"count": 4}}, "prompt": "a"},
            "axes.prompt: an axis of the job that the file lacks, where prompt is 'a'", id="an axis less",
        ),
        pytest.param(
            {"axes": {"seed": {"count": 4}, "prompt": ["a", "c"]}}, "axes.prompt: lacks 'b', which the job has",
            id="a value less",
        ),
        pytest.param({"axes": {**BASE["axes"], "seed": {"count": 3}}, "exclude": [{"seed": [3]}]},
                     "axes.seed.count = 3: the job has 4 already", id="a shorter range"),
        pytest.param({"axes": {**BASE["axes"], "seed": [0, 1, 2, 4]}}, "axes.seed: lacks 3", id="another range"),
        pytest.param(
            {"axes": {**BASE["axes"], "prompt": {"template": "{x}", "values": {"x": ["a", "b"]}}}},
            "axes.prompt: a list of values in the job, a template in the file", id="another form",
        ),
        pytest.param(
            {"axes": {"prompt": ["a", "b"]}, "zip": [{"seed": [0, 1], "steps": [20, 30]}], "steps": None},
            "zip (seed, steps): no such axis in the job", id="axes tied together",
        ),
    ],
)  # fmt: skip
def test_a_file_that_changes_more_than_values_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    spec = frozen(tmp_path, **BASE)
    wanted = frozen(tmp_path, **{**BASE, **change})

    with pytest.raises(InvalidSpec) as caught:
        extend(spec, wanted, max_images=CAP)

    assert str(caught.value).startswith(words)
    assert str(caught.value).endswith(NEW_JOB)


def test_a_new_model_on_the_axis_of_models_is_refused(tmp_path: Path) -> None:
    one, two = (frozen(tmp_path, axes={"model": ["owner/one", "owner/two"][:count]}) for count in (1, 2))

    with pytest.raises(InvalidSpec) as caught:
        extend(one, two, max_images=CAP)

    assert str(caught.value).startswith("model owner/two: nothing in the job, 'owner/two' in the file; a job's models")


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        pytest.param({"seed": 1}, {"seed": 2}, "seed: 1 in the job, 2 in the file", id="the seed they start from"),
        pytest.param({}, {"axes": {"seed": {"derive": 4, "over": ["model"]}}}, "axes.seed.over: ", id="what they hash"),
        pytest.param({}, {"axes": {"seed": {"derive": 3}}}, "axes.seed.derive = 3: the job has 4", id="fewer"),
        pytest.param({}, {"axes": {"seed": {"count": 4}}}, "axes.seed: derived seeds in the job", id="not derived"),
    ],
)
def test_derived_seeds_stay_derived_as_they_were(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], path: str
) -> None:
    plain = {"axes": {"seed": {"derive": 4}}}

    with pytest.raises(InvalidSpec) as caught:
        extend(frozen(tmp_path, **{**plain, **before}), frozen(tmp_path, **{**plain, **after}), max_images=CAP)

    assert str(caught.value).startswith(path)


@pytest.mark.parametrize(
    ("entries", "added", "words"),
    [
        pytest.param({"axes": {"steps": [1]}}, {"seeds": 2}, "--seeds: seed is 0 for all images", id="one seed"),
        pytest.param({"axes": {"seed": [1]}}, {"prompts": ["x"]}, "--prompt: prompt is 'a fox'", id="one prompt"),
        pytest.param(
            {"zip": [{"prompt": ["a"], "seed": [1]}]}, {"prompts": ["x"]},
            "--prompt: prompt stands in one table with seed in this job", id="a zip",
        ),
        pytest.param({"axes": {"seed": [2**63 - 2]}}, {"seeds": 2}, "--seeds = 9223372036854775808", id="past the end"),
        pytest.param({"axes": {"prompt": ["a"]}}, {"prompts": ["a\0"]}, "--prompt = ", id="no text"),
        pytest.param(
            {"axes": {"prompt": ["a"]}}, {"prompts": ["<lora:ink:1>"]}, "prompt = '<lora:ink:1>'", id="a lora's tag"
        ),
        pytest.param({"axes": {"seed": {"count": 10}}}, {"seeds": 91}, "axes = 101: images in one job", id="too many"),
    ],
)  # fmt: skip
def test_what_cannot_be_added_is_refused(
    tmp_path: Path, entries: dict[str, Any], added: dict[str, Any], words: str
) -> None:
    spec = frozen(tmp_path, **entries)

    with pytest.raises(InvalidSpec) as caught:
        add_values(spec, **added, max_images=100)

    assert str(caught.value).startswith(words)


def test_new_values_obey_the_rules_that_bind_keys(tmp_path: Path) -> None:
    spec = frozen(tmp_path, axes={"steps": [20, 30]}, cfg_cutoff={"step": 15})

    with pytest.raises(InvalidSpec, match="past the last of 10 steps"):
        frozen(tmp_path, axes={"steps": [10, 20, 30]}, cfg_cutoff={"step": 15})

    assert len(Job(extend(spec, frozen(tmp_path, axes={"steps": [20, 30, 40]}, cfg_cutoff={"step": 15}),
                          max_images=CAP))) == 3  # fmt: skip


def test_an_extension_of_empty_places_alone_is_refused(tmp_path: Path) -> None:
    exclude = [{"seed": [2, 3]}]
    spec = replace(frozen(tmp_path, axes={"seed": {"count": 2}}), exclude=({"seed": [2, 3]},))
    wanted = frozen(tmp_path, axes={"seed": {"count": 4}}, exclude=exclude)

    with pytest.raises(InvalidSpec, match="leaves none of 2 new images"):
        extend(spec, wanted, max_images=CAP)
