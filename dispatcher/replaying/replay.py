"""Pictures rendered again from their own provenance, each with a grade."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dispatcher.farm import Farm
from dispatcher.replaying.grading import Graded, grade, not_replayable
from dispatcher.replaying.originals import Original, originals_of
from dispatcher.replaying.running import Means, Replayer
from dispatcher.replaying.sampling import spread
from dispatcher.replaying.wanting import Able, Model, Replay, grouped, models_of_job, replay_of, used_models
from storage.errors import InvalidSpec, UserError
from storage.models.sources import STORE
from storage.spec import Job, Spec
from storage.spec.unrecipe import inputs_of, values_of
from storage.sql import hashes, registry
from storage.sql.jobs import JobRow
from storage.wire.keys import input_key

_NAME_LENGTH = 56  # of 64 that a job's name may have: "-replay" follows


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a replay stands on beside the recipes."""

    base: Spec  # says how pictures are encoded, and knows the input images
    models: Sequence[Model]  # that can be had; of one digest the first is taken


def ground_of(farm: Farm, row: JobRow, job: Job) -> Ground:
    """What a job's replays stand on: registered models, then those that it names itself. Raises DatabaseAway."""
    digests = {key: facts.digest for key, facts in (row.models or {}).items()}
    return Ground(base=job.spec, models=[*registered_models(farm), *models_of_job(job.spec, digests)])


def registered_models(farm: Farm) -> list[Model]:
    """The registered models, whose bytes never change; first those that the store keeps. Raises DatabaseAway."""
    with farm.database.read() as connection:
        known = registry.listing(connection)
    known.sort(key=lambda one: not one.source.startswith(STORE))
    return [Model(name=one.name, kind=one.kind, source=one.source, digest=one.digest) for one in known]


def replay_job(farm: Farm, row: JobRow, *, count: int, seed: int, means: Means) -> list[Graded]:
    """Render a sample of a job again.

    Args:
        farm: Where it is.
        row: The job.
        count: How many images; fewer if the job has fewer.
        seed: Of the draw.
        means: With what to render.

    Returns:
        A grade for every image of the sample, by number.

    Raises:
        UserError: The job has no images.
        PartFailed: The embedded farm does not come up.
    """
    with farm.database.read() as connection:
        numbers = hashes.numbers_made(connection, row.id)
    if not numbers:
        ended = f"and is {row.state}; 'farm why {row.id}' says why"
        hint = f"yet; 'farm watch {row.id}' follows it" if row.is_open else ended
        raise UserError(f"job {row.name} ({row.id}) has no images {hint}")
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    originals = originals_of(farm, row, job, spread(numbers, count=count, seed=seed))
    return replay(farm, originals, ground=ground_of(farm, row, job), name=row.name, means=means)


def replay(farm: Farm, originals: Sequence[Original], *, ground: Ground, name: str, means: Means) -> list[Graded]:
    """Render pictures again; those that cannot be have grade D, and why. Raises PartFailed."""
    refused: dict[str, Graded] = {}
    able: list[Able] = []
    for original in originals:
        models, missing = used_models(original.recipe, ground.models)
        why = _why_not(farm, original, missing)
        if why is None:
            able.append((original, models))
        else:
            refused[original.name] = not_replayable(original, why)
    replays = _replays(able, base=ground.base, name=name)
    outcomes = Replayer(farm, means).run(replays) if replays else {}
    graded = []
    for original in originals:
        outcome = outcomes.get(original.name)
        if outcome is None:
            graded.append(refused[original.name])
        else:
            graded.append(not_replayable(original, outcome) if isinstance(outcome, str) else grade(original, outcome))
    return graded


def _replays(able: Iterable[Able], *, base: Spec, name: str) -> list[Replay]:
    groups = grouped(able)
    plain = f"{name.removesuffix('-replay')[:_NAME_LENGTH]}-replay"
    return [replay_of(group, base=base, name=plain) for group in groups]


def _why_not(farm: Farm, original: Original, missing: Sequence[str]) -> str | None:
    """Why a picture cannot be rendered again, as far as can be told without trying."""
    try:
        values_of(original.recipe, {})
    except InvalidSpec as error:
        return str(error)
    if missing:
        return f"model {missing[0][:19]}… is not known here; 'farm model add' registers one"
    for found in inputs_of(original.recipe):
        if farm.store.head(input_key(found)) is None:
            return f"input image {found[:19]}… is not in the store any more; 'farm put FILE' brings it back"
    return None
