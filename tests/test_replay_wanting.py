"""What is rendered again, by which job, and how near it came: all that needs no farm."""

import hashlib
import io
import math
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dispatcher.provenance.pixels import pixel_hash, psnr
from dispatcher.replaying.grading import Anew, Grade, counts, grade, is_worse, not_replayable, reasons, worst_psnr
from dispatcher.replaying.originals import Original
from dispatcher.replaying.running import lacks_device, other_bytes
from dispatcher.replaying.sampling import spread
from dispatcher.replaying.wanting import Model, grouped, models_of_job, replay_of, used_models
from spec_files import frozen, job_files
from storage.errors import BlobMissing, StoreAway
from storage.spec import Job, ModelFacts, Spec, batch_key, digest
from storage.spec.named_code import with_code
from storage.spec.plan import Plan
from storage.wire.messages import Heartbeat

PLAN = Plan(device_type="cpu", dtype="float32", batch=4, threads=1, tf32=False)
HERE = {"torch": "2.6", "device": "cpu"}


def facts_of(spec: Spec) -> dict[str, ModelFacts]:
    """A digest for every model of a spec."""
    sizes: dict[str, Any] = {"width": 64, "height": 64, "guidance_scale": 5.0}
    return {
        key: ModelFacts(digest=f"sha256:{hashlib.sha256(key.encode()).hexdigest()}", family="F", kind=said["kind"],
                        **(sizes if said["kind"] == "checkpoint" else {}))
        for key, said in spec.models.items()
    }  # fmt: skip


def originals(job: Job, facts: dict[str, ModelFacts], *, plan: Plan = PLAN) -> list[Original]:
    """Every image of a job, as if it had been made."""
    found = []
    for place in job:
        if place is not None:
            recipe = job.recipe(place, facts)
            found.append(Original(name=str(place.number), recipe=recipe, recipe_hash=digest(recipe), plan=plan,
                                  environment=HERE, load=bytes))  # fmt: skip
    return found


@settings(max_examples=40)
@given(entries=job_files(exclude=False))
def test_a_replay_renders_the_recipes_that_it_was_made_of(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any]
) -> None:
    job = Job(frozen(tmp_path_factory.getbasetemp(), **entries))
    facts = facts_of(job.spec)
    known = models_of_job(job.spec, {key: one.digest for key, one in facts.items()})
    able = [(one, used_models(one.recipe, known)[0]) for one in originals(job, facts)]

    replays = [replay_of(group, base=job.spec, name="x-replay") for group in grouped(able)]

    for replay in replays:
        kinds = [batch_key(one.recipe) for one in replay.originals]
        assert len([*groupby(kinds)]) == len({*kinds}), "those that share a call stand side by side"
        again = Job(Spec.from_json(replay.spec.to_json()))
        made = {key: facts[key] for key in replay.spec.models}
        places = [again[number] for number in range(len(again))]
        assert [again.recipe(place, made) for place in places if place] == [dict(o.recipe) for o in replay.originals]
        assert replay.spec.plan == PLAN.model_dump()
        assert (replay.spec.reuse, replay.spec.smaller_plans, replay.spec.allow_blank) == ("off", False, True)
    assert sum(len(replay.originals) for replay in replays) == len(able)


def test_images_of_different_plans_or_models_are_rendered_by_different_jobs(tmp_path: Path) -> None:
    spec = frozen(tmp_path, axes={"model": ["./m", "owner/one"], "seed": {"count": 3}})
    facts = facts_of(spec)
    known = models_of_job(spec, {key: one.digest for key, one in facts.items()})
    halved = PLAN.model_copy(update={"batch": 2})
    mixed = [*originals(Job(spec), facts), *originals(Job(spec), facts, plan=halved)]

    groups = grouped([(one, used_models(one.recipe, known)[0]) for one in mixed])

    assert [len(group) for group in groups] == [3, 3, 3, 3]
    assert len(replay_of(groups[0], base=spec, name="x").spec.models) == 1


def test_a_model_that_nobody_knows_is_named_by_its_digest(tmp_path: Path) -> None:
    spec = frozen(tmp_path, loras="owner/ink")
    (one,) = originals(Job(spec), facts_of(spec))
    base = Model(name="./m", kind="checkpoint", source="x", digest=one.recipe["model"])

    found, missing = used_models(one.recipe, [base])

    assert list(found.values()) == [base]
    assert missing == [one.recipe["loras"][0]["model"]]


@given(total=st.integers(0, 300), count=st.integers(1, 40), seed=st.integers())
def test_a_draw_is_spread_and_can_be_repeated(total: int, count: int, seed: int) -> None:
    numbers = list(range(0, total * 3, 3))

    drawn = spread(numbers, count=count, seed=seed)

    assert drawn == spread(numbers, count=count, seed=seed) == sorted(set(drawn))
    assert len(drawn) == min(count, total)
    assert all(
        total * part // len(drawn) <= number // 3 < total * (part + 1) // len(drawn)
        for part, number in enumerate(drawn)
    )  # one of each stratum


def test_another_seed_draws_other_images() -> None:
    assert spread(range(1000), count=20, seed=1) != spread(range(1000), count=20, seed=2)


def picture(*, shade: int = 0) -> Image.Image:
    """A slope, lighter by `shade`."""
    slope = Image.linear_gradient("L").resize((32, 32)).point(lambda value: min(255, value // 2 + shade))
    return Image.merge("RGB", (slope, slope, slope))


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def original(data: bytes | None, *, plan: Plan = PLAN, **more: Any) -> Original:
    def load() -> bytes:
        if data is None:
            raise BlobMissing("jobs/x/1.png", "the store")
        return data

    return Original(name="1", recipe={}, recipe_hash="", plan=plan, environment=HERE, load=load, **more)


def anew(image: Image.Image, **more: Any) -> Anew:
    said = {"pixel_sha256": pixel_hash(image), "plan": PLAN.model_dump(), "environment": HERE, **more}
    return Anew(picture=png(image), **said)


def test_the_same_pixels_are_an_a_without_reasons() -> None:
    graded = grade(original(png(picture())), anew(picture(), environment={**HERE, "torch": "9"}))

    assert (graded.grade, graded.psnr, graded.reasons) == (Grade.A, math.inf, ())
    assert graded.to_json() == {"image": "1", "grade": "A", "psnr": None, "reasons": []}


@pytest.mark.parametrize(
    ("shade", "wanted"),
    [pytest.param(1, Grade.B, id="48 dB"), pytest.param(2, Grade.B, id="42 dB"), pytest.param(3, Grade.C, id="39 dB")],
)
def test_forty_decibels_part_b_from_c_and_what_changed_is_said(shade: int, wanted: Grade) -> None:
    changed = {"torch": "2.7", "device": "cpu"}

    graded = grade(original(png(picture())), anew(picture(shade=shade), environment=changed))

    assert graded.grade == wanted
    assert graded.psnr == psnr(picture(), picture(shade=shade))
    assert graded.reasons == ("torch 2.6 -> 2.7",)


def test_where_nothing_recorded_differs_that_is_said() -> None:
    graded = grade(original(png(picture())), anew(picture(shade=99)))

    assert graded.reasons == ("nothing that is recorded differs: same plan, device and libraries",)


def test_where_a_plan_cuts_pictures_the_place_in_the_batch_is_told() -> None:
    plan = PLAN.model_copy(update={"batch": 27, "threads": 2})

    graded = grade(original(png(picture()), plan=plan), anew(picture(shade=1), plan=plan.model_dump()))

    assert graded.grade == Grade.B
    assert "the place in the call counts" in graded.reasons[0]


def test_another_plan_is_named_by_what_changed() -> None:
    plan = PLAN.model_copy(update={"dtype": "float16"}).model_dump()

    assert grade(original(png(picture())), anew(picture(shade=1), plan=plan)).reasons == (
        "plan dtype float32 -> float16",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        pytest.param(None, "it is gone", id="gone"),
        pytest.param(png(picture())[:80], "it cannot be read as a picture", id="cut off"),
        pytest.param(b"junk", "it cannot be read as a picture", id="no picture"),
    ],
)
def test_a_stored_file_that_is_none_is_below_a_and_the_recorded_pixels_are_told(
    stored: bytes | None, says: str
) -> None:
    graded = grade(original(stored, pixel_sha256=pixel_hash(picture())), anew(picture()))

    assert graded.grade == Grade.C
    recorded = "rendered again, it has the recorded pixels"
    assert graded.reasons == (f"the stored file is not what was recorded: {says}; {recorded}",)


def test_a_store_that_is_away_spoils_no_grade() -> None:
    def load() -> bytes:
        raise StoreAway("s3://farm", "timed out")

    with pytest.raises(StoreAway):
        grade(replace(original(png(picture())), load=load), anew(picture()))


def test_a_stored_file_of_another_picture_is_told_from_a_replay_that_went_astray() -> None:
    true = hashlib.sha256(png(picture())).hexdigest()

    graded = grade(
        original(png(picture(shade=9)), sha256=true, pixel_sha256=pixel_hash(picture())), anew(picture())
    )  # fmt: skip

    assert graded.grade == Grade.C
    assert graded.reasons == (
        "the stored file is not what was recorded; rendered again, it has the recorded pixels",
    )  # fmt: skip


def test_a_picture_of_another_size_cannot_be_compared() -> None:
    graded = grade(original(png(picture().resize((16, 16)))), anew(picture()))

    assert (graded.grade, graded.psnr) == (Grade.C, None)
    assert graded.reasons == ("the stored picture is 16x16",)


def test_grades_are_counted_and_reasons_told_worst_first() -> None:
    graded = [
        grade(original(png(picture())), anew(picture())),
        grade(original(png(picture())), anew(picture(shade=1), environment={**HERE, "torch": "3"})),
        not_replayable(original(None), "model gone"), not_replayable(original(None), "model gone"),
    ]  # fmt: skip

    assert counts(graded) == {Grade.A: 1, Grade.B: 1, Grade.C: 0, Grade.D: 2}
    assert reasons(graded) == [(Grade.D, "model gone", 2), (Grade.B, "torch 2.6 -> 3", 1)]
    assert worst_psnr(graded) == graded[1].psnr
    assert is_worse(Grade.D, Grade.B)
    assert not is_worse(Grade.B, Grade.B)


def test_a_device_is_lacking_once_workers_are_there_and_none_has_it() -> None:
    beat = Heartbeat(node="n", boot="b", child="c", beat=1, device_type="cpu", device="cpu", threads=1,
                     memory_bytes=0, renderer="fake")  # fmt: skip

    assert not lacks_device("cuda", [])
    assert lacks_device("cuda", [beat])
    assert not lacks_device("cpu", [beat])


def test_code_that_has_changed_is_named_and_code_that_was_never_recorded_is_not_missed(tmp_path: Path) -> None:
    spec = frozen(tmp_path, callbacks="fade")
    then, now = "sha256:" + "c" * 64, "sha256:" + "d" * 64
    facts = facts_of(spec) | {"callback:fade": ModelFacts(kind="callback", digest=then, family="toys 1.0")}
    known = models_of_job(spec, {key: one.digest for key, one in facts.items()})
    new, old = originals(Job(spec), facts), originals(Job(spec), facts_of(spec))
    replay = replay_of([(one, used_models(one.recipe, known)[0]) for one in new], base=spec, name="x")

    assert other_bytes(replay, {"callback:fade": then}) is None
    assert str(other_bytes(replay, {"callback:fade": now})).startswith("model callback:fade is sha256:dddd")
    assert replay.spec.fixed["callbacks"] == spec.fixed["callbacks"]  # it names code, and finds its digest anew
    assert digest(with_code(old[0].recipe, {"callback:fade": then})) == new[0].recipe_hash
    assert with_code(new[0].recipe, {"callback:fade": now}) == new[0].recipe


def test_a_model_of_other_bytes_is_named(tmp_path: Path) -> None:
    spec = frozen(tmp_path)
    facts = facts_of(spec)
    known = models_of_job(spec, {key: one.digest for key, one in facts.items()})
    able = [(one, used_models(one.recipe, known)[0]) for one in originals(Job(spec), facts)]
    replay = replay_of(able, base=spec, name="x")

    assert other_bytes(replay, {"./m": facts["./m"].digest}) is None
    assert str(other_bytes(replay, {"./m": "sha256:" + "f" * 64})).startswith("model ./m is sha256:ffff")
