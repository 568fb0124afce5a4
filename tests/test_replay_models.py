"""Which model a picture is rendered again with, of several that have the digest in its recipe."""

from pathlib import Path
from typing import Any

import pytest

from dispatcher.farm import Farm
from dispatcher.replaying.replay import registered_models
from dispatcher.replaying.wanting import Model, models_of_job, replay_of, used_models
from spec_files import frozen
from storage.settings import Settings
from storage.spec import Job, Spec
from storage.sql import registry
from storage.sql.registry import RegisteredModel
from test_replay_wanting import facts_of, originals


def of_job(spec: Spec) -> list[Model]:
    """The job's own models."""
    return models_of_job(spec, {key: one.digest for key, one in facts_of(spec).items()})


def stored(name: str, digest: str, *, kind: str = "checkpoint") -> Model:
    """As the registry has it."""
    return Model(name=name, kind=kind, source=f"store:{digest}", digest=digest)


def rendered_by(spec: Spec, known: list[Model]) -> tuple[Spec, list[dict[str, Any]], list[dict[str, Any]]]:
    """The replay's spec of a job's only image, the recipe that it leads to, and the image's."""
    facts = facts_of(spec)
    (one,) = originals(Job(spec), facts)
    found, missing = used_models(one.recipe, known)
    assert missing == []
    replay = replay_of([(one, found)], base=spec, name="x")
    by_digest = {entry.digest: entry for entry in facts.values()}
    again = Job(Spec.from_json(replay.spec.to_json()))
    made = {key: by_digest[model.digest] for key, model in replay.models.items()}
    return replay.spec, [again.recipe(place, made) for place in again if place], [dict(one.recipe)]


def test_a_registered_model_comes_before_the_folder_that_the_job_named(tmp_path: Path) -> None:
    spec = frozen(tmp_path)
    digest = facts_of(spec)["./m"].digest

    again, made, recipes = rendered_by(spec, [stored("sd15", digest), *of_job(spec)])

    assert again.models == {"sd15": {"source": f"store:{digest}", "kind": "checkpoint"}}
    assert made == recipes


def test_a_safety_checker_comes_from_where_the_job_had_it_as_the_store_keeps_none(tmp_path: Path) -> None:
    spec = frozen(tmp_path, safety_checker="flag")
    digest, folder = facts_of(spec)["./m"].digest, spec.models["safety_checker:./m"]["source"]

    again, made, recipes = rendered_by(spec, [stored("sd15", digest), *of_job(spec)])

    assert {key: said["source"] for key, said in again.models.items()} == {
        "sd15": f"store:{digest}", "safety_checker:sd15": folder,
    }  # fmt: skip
    assert made == recipes


@pytest.mark.parametrize("checker", ["off", "flag"])
def test_two_models_under_one_name_are_told_apart(tmp_path: Path, checker: str) -> None:
    spec = frozen(
        tmp_path, refiner="owner/fine", refiner_start=0.8, loras=["owner/ink", "owner/oil"], safety_checker=checker
    )
    facts = facts_of(spec)
    known = [
        stored("owner/fine", facts["./m"].digest),
        stored("owner/oil", facts["lora:owner/ink"].digest, kind="lora"),
    ]

    again, made, recipes = rendered_by(spec, [*known, *of_job(spec)])

    assert len(again.models) == (4 if checker == "off" else 5)
    assert made == recipes


def test_of_registered_models_those_that_the_store_keeps_come_first(tmp_path: Path) -> None:
    farm = Farm(Settings(home=tmp_path))
    farm.database.prepare()
    digest = "sha256:" + "a" * 64
    sources = {"a": "owner/name@" + "c" * 40, "b": f"store:{digest}"}
    with farm.database.write() as connection:
        for name, source in sources.items():
            registry.add(connection, RegisteredModel(
                name=name, kind="lora", source=source, digest=digest, family="sd1", bytes=1, variant=None, license=None,
                added_by="me", added_at=0.0,
            ))  # fmt: skip

    found = registered_models(farm)

    farm.database.close()
    assert [one.name for one in found] == ["b", "a"]
