"""The `quality:` section of a job file: one stored form, contradictions refused, rules read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from spec_files import CAP, frozen
from storage.errors import InvalidSpec
from storage.spec import JobFile, ModelFacts, Spec, check_job_file, freeze
from storage.spec.file.allowed import Allowed
from storage.spec.finish import finish_of
from storage.spec.growth import extend
from storage.spec.quality import FLAGS, Rules, scorers_of
from storage.wire import messages

FULL: dict[str, Any] = {
    "low_variance": "reject", "nsfw": "reject", "truncated": "reject", "exact_duplicate": "reject",
    "near_duplicate": {"distance": 4}, "clip": {"model": "./clip", "below": 0.2},
    "aesthetic": {"model": "./aes", "below": 5}, "safety": {"model": "./safety", "above": 0.5, "label": "nsfw"},
    "on_reject": "next_seed", "accept": 500, "per": ["scheduler", "prompt"], "tries": 3,
}  # fmt: skip
NEXT: dict[str, Any] = {"low_variance": "reject", "on_reject": "next_seed"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("clip", "aes", "safety"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_everything_that_can_be_said_has_one_stored_form(folder: Path) -> None:
    spec = frozen(folder, safety_checker="flag", quality=FULL)

    assert spec.quality == {
        **FULL, "aesthetic": {"model": "./aes", "below": 5.0}, "per": ["prompt", "scheduler"],
    }  # fmt: skip
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert {key: spec.models[key]["kind"] for key in spec.models if ":" in key} == {
        "safety_checker:./m": "safety_checker", "clip:./clip": "clip", "aesthetic:./aes": "aesthetic",
        "safety:./safety": "safety",
    }  # fmt: skip
    assert spec.models["clip:./clip"]["source"] == str(folder / "clip")


def test_rules_are_read_from_the_stored_form(folder: Path) -> None:
    rules = Rules.of(frozen(folder, safety_checker="flag", quality=FULL))

    assert rules == Rules(
        flags=frozenset(FLAGS), exact=True, distance=4,
        bounds={"clip": (0.2, None), "aesthetic": (5.0, None), "safety": (None, 0.5)},
        next_seed=True, accept=500, per=("prompt", "scheduler"), tries=3,
    )  # fmt: skip
    assert rules.can_reject


@pytest.mark.parametrize(
    "silent",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"quality": None}, id="null"),
        pytest.param({"quality": {}}, id="empty"),
        pytest.param({"quality": {"on_reject": "keep", "low_variance": None}}, id="what holds anyway"),
    ],
)
def test_a_job_that_wants_nothing_has_no_rules_and_keeps_its_hash(folder: Path, silent: dict[str, Any]) -> None:
    spec = frozen(folder, **silent)

    assert spec.quality is None
    assert Rules.of(spec) is None
    assert "quality" not in spec.to_json()
    assert spec.hash == frozen(folder).hash


def test_equal_wishes_have_equal_hashes_however_they_are_spelled(folder: Path) -> None:
    said = {**NEXT, "accept": 2, "clip": {"model": "./clip", "below": 0}}
    other = {
        "clip": {"below": -0.0, "model": "./clip", "above": None},
        **NEXT,
        "per": "prompt",
        "accept": 2,
        "tries": 5,
    }

    assert frozen(folder, quality=said).hash == frozen(folder, quality=other).hash


def test_without_a_quota_every_place_is_to_be_filled(folder: Path) -> None:
    rules = Rules.of(frozen(folder, quality=NEXT))

    assert rules is not None
    assert (rules.next_seed, rules.accept, rules.per, rules.tries) == (True, None, None, 5)


def test_a_scorer_without_bounds_measures_and_rejects_nothing(folder: Path) -> None:
    spec = frozen(folder, quality={"aesthetic": {"model": "./aes"}})
    rules = Rules.of(spec)

    assert rules is not None
    assert (rules.can_reject, rules.bounds, rules.tries) == (False, {}, 1)
    assert scorers_of(spec) == {"aesthetic": {"model": "./aes"}}


def test_a_cell_may_be_the_whole_job_or_a_label(folder: Path) -> None:
    axes = {"prompt": {"template": "a {color} fox", "values": {"color": ["red", "white"]}}, "seed": [1]}
    whole = frozen(folder, quality={**NEXT, "accept": 9, "per": []})
    label = frozen(folder, axes=axes, quality={**NEXT, "accept": 9, "per": "color"})

    assert [Rules.of(spec).per for spec in (whole, label)] == [(), ("color",)]  # type: ignore[union-attr]


REFUSED = [
    pytest.param({"low_varience": "reject"}, "quality.low_varience = 'reject': unknown key; did you mean 'low_variance'?", id="key"),  # noqa: E501
    pytest.param({"low_variance": True}, "quality.low_variance = True: must be 'reject'", id="yes"),
    pytest.param({"near_duplicate": "reject"}, "quality.near_duplicate = 'reject': must be a mapping", id="no mapping"),
    pytest.param({"near_duplicate": {}}, "quality.near_duplicate.distance: missing; it must be given", id="silent"),
    pytest.param({"near_duplicate": {"distance": 17}}, "quality.near_duplicate.distance = 17: must be at most 16", id="far"),  # noqa: E501
    pytest.param({"near_duplicate": {"distance": -1}}, "distance = -1: must be at least 0", id="negative"),
    pytest.param({"near_duplicate": {"distnce": 1, "distance": 1}}, "quality.near_duplicate.distnce = 1: unknown key; did you mean 'distance'?", id="key of near"),  # noqa: E501
    pytest.param({"clip": "./clip"}, "quality.clip = './clip': must be a mapping such as {model: FOLDER, below: NUMBER}", id="scorer as text"),  # noqa: E501
    pytest.param({"clip": {"below": 0.2}}, "quality.clip.model: missing; it must be given", id="no model"),
    pytest.param({"clip": {"model": "./clip", "belov": 0.2}}, "quality.clip.belov = 0.2: unknown key; did you mean 'below'?", id="key of a scorer"),  # noqa: E501
    pytest.param({"clip": {"model": "./clip", "below": 25}}, "quality.clip.below = 25: must be from -1 to 1: the score is a cosine, not a hundred times one", id="cosine"),  # noqa: E501
    pytest.param({"aesthetic": {"model": "./aes", "below": float("nan")}}, "quality.aesthetic.below = nan: must be a finite number", id="nan"),  # noqa: E501
    pytest.param({"aesthetic": {"model": "./aes", "below": "5"}}, "quality.aesthetic.below = '5': must be a number", id="text"),  # noqa: E501
    pytest.param({"aesthetic": {"model": "./aes", "label": "good"}}, "quality.aesthetic.label = 'good': unknown key; did you mean 'below'?", id="label"),  # noqa: E501
    pytest.param({"safety": {"model": "./safety", "above": 50}}, "quality.safety.above = 50: must be from 0 to 1: the score is a probability", id="percent"),  # noqa: E501
    pytest.param({"aesthetic": {"model": "./aes", "below": 5, "above": 4}}, "below must not be larger than above; every score would be rejected", id="nothing left"),  # noqa: E501
    pytest.param({"clip": {"model": "./nowhere"}}, "quality.clip.model = './nowhere': no such name in 'farm model ls', no folder or file", id="no such model"),  # noqa: E501
    pytest.param({"on_reject": "retry"}, "quality.on_reject = 'retry': must be 'keep' or 'next_seed'", id="on_reject"),
    pytest.param({"on_reject": "next_seed"}, "quality.on_reject = 'next_seed': nothing here rejects an image", id="nothing rejects"),  # noqa: E501
    pytest.param({"aesthetic": {"model": "./aes"}, "on_reject": "next_seed"}, "nothing here rejects an image; add low_variance: reject, or below or above to a scorer", id="measured only"),  # noqa: E501
    pytest.param({"low_variance": "reject", "accept": 5}, "quality.accept = 5: does nothing without on_reject: next_seed; add it, or take this out", id="accept"),  # noqa: E501
    pytest.param({"low_variance": "reject", "tries": 5}, "quality.tries = 5: does nothing without on_reject", id="tries"),  # noqa: E501
    pytest.param({**NEXT, "per": ["prompt"]}, "quality.per = ['prompt']: does nothing without accept", id="per"),
    pytest.param({**NEXT, "accept": 0}, "quality.accept = 0: must be at least 1", id="accept none"),
    pytest.param({**NEXT, "tries": 0}, "quality.tries = 0: must be at least 1", id="no tries"),
    pytest.param({**NEXT, "accept": 5, "per": ["prompt", "promt"]}, "quality.per[1] = 'promt': no recipe key or label; did you mean 'prompt'?", id="per what"),  # noqa: E501
    pytest.param({**NEXT, "accept": 5, "per": "seed"}, "quality.per[0] = 'seed': a successor has another seed; name other keys", id="per seed"),  # noqa: E501
    pytest.param({"nsfw": "reject"}, "quality.nsfw = 'reject': finds nothing without the model's safety checker; add safety_checker: flag, or use quality.safety", id="nobody checks"),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize(("said", "complaint"), REFUSED)
def test_a_refusal_names_key_value_rule_and_next_step(folder: Path, said: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen(folder, quality=said)

    assert complaint in str(caught.value)


def test_a_job_without_prompts_has_nothing_to_hold_pictures_against(folder: Path) -> None:
    with pytest.raises(InvalidSpec, match="mode unconditional has no prompt"):
        frozen(folder, mode="unconditional", quality={"clip": {"model": "./clip"}})


def test_a_safety_checker_may_be_an_axis(folder: Path) -> None:
    spec = frozen(folder, axes={"safety_checker": ["off", "flag"]}, quality={"nsfw": "reject"})

    assert spec.quality == {"nsfw": "reject"}


class Known:
    """A registered model."""

    def __init__(self, kind: str) -> None:
        self.kind, self.source = kind, "store:sha256:" + "0" * 64


def freeze_known(folder: Path, kind: str) -> Spec:
    (folder / "m").mkdir(exist_ok=True)
    file = check_job_file({"model": "./m", "prompt": "a", "quality": {"clip": {"model": "fits"}}})
    allowed = Allowed(find_model=lambda name: Known(kind) if name == "fits" else None)
    return freeze(file, base=folder, name="job", max_images=CAP, allowed=allowed)


def test_a_scorer_may_be_a_registered_model_of_its_kind(folder: Path) -> None:
    spec = freeze_known(folder, "clip")

    assert spec.models["clip:fits"] == {"source": "store:sha256:" + "0" * 64, "kind": "clip"}
    with pytest.raises(InvalidSpec, match="is registered as safety, and clip is needed here"):
        freeze_known(folder, "safety")


def test_what_is_measured_parts_jobs_and_what_rejects_does_not(folder: Path) -> None:
    def finish(*, digit: str = "a", **quality: Any) -> str:
        spec = frozen(folder, quality=quality)
        facts = {
            key: ModelFacts(kind=model["kind"], digest=f"sha256:{digit * 64}", family="x")
            for key, model in spec.models.items()
        }
        return finish_of(spec, facts)

    measured = finish(clip={"model": "./clip"})

    assert finish() == finish(low_variance="reject") == ""
    assert measured == finish(clip={"model": "clip", "below": 0.3}, exact_duplicate="reject")
    assert len({"", measured, finish(aesthetic={"model": "./aes"}), finish(safety={"model": "./safety"}),
                finish(safety={"model": "./safety", "label": "nsfw"})}) == 5  # fmt: skip
    assert measured != finish(clip={"model": "./clip"}, digit="b")  # the same folder, and other weights


def test_an_extension_cannot_change_the_rules(folder: Path) -> None:
    job = frozen(folder, axes={"seed": [1]}, quality=NEXT)
    edited = frozen(folder, axes={"seed": [1, 2]}, quality={**NEXT, "tries": 9})

    with pytest.raises(InvalidSpec, match=r"quality\.tries: 5 in the job, 9 in the file"):
        extend(job, edited, max_images=CAP)


def test_the_schema_knows_the_section() -> None:
    schema = JobFile.model_json_schema()

    assert set(schema["$defs"]["Quality"]["properties"]) == set(FULL)
    assert schema["$defs"]["SafetyScorer"]["required"] == ["model"]
    forms = schema["$defs"]["Quality"]["properties"]["per"]["anyOf"]
    assert [form["type"] for form in forms] == ["string", "array", "null"]


def test_flags_that_reject_are_flags_that_workers_raise() -> None:
    assert set(FLAGS) == set(messages.FLAGS)
