"""One picture rendered again: an image of a job, or whatever a file says of itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from dispatcher.farm import Farm
from dispatcher.provenance.finding import find_file, read_file, what_it_says
from dispatcher.replaying.grading import Graded
from dispatcher.replaying.originals import Original, originals_of
from dispatcher.replaying.replay import Ground, ground_of, registered_models, replay
from dispatcher.replaying.running import Means
from dispatcher.replaying.wanting import Model, models_of_job
from storage.errors import BlobMissing, InvalidSpec, UnknownName, UnreadableFile, UserError
from storage.pictures import examine
from storage.spec import Spec, digest
from storage.spec.number import show_number
from storage.spec.plan import Plan
from storage.spec.recipe import SAFETY_CHECKER
from storage.spec.unrecipe import check_recipe, digests_of, inputs_of
from storage.sql import jobs
from storage.sql.jobs import JobRow
from storage.wire.keys import input_key

MAX_JOBS: Final = 2000  # that are asked for a model which a file names; the newest
_PROVEN: Final = ("file", "pixels")
_SUFFIX: Final = {"jpeg": "jpg"}


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """A picture that was rendered again, and what its file should be called."""

    graded: Graded
    file_name: str
    of: str  # for people: what was rendered again


def rerun_image(farm: Farm, row: JobRow, number: int, *, means: Means) -> Rerun:
    """Render an image of a job again.

    Raises:
        UnknownName: The job has no such image, or it failed.
        PartFailed: The embedded farm does not come up.
    """
    job = farm.specs.load(row.id, spec_hash=row.spec_hash)
    shown = show_number(number)
    found = originals_of(farm, row, job, [number]) if row.models is not None else []
    if not found:
        raise UnknownName("image", shown, f"{row.name} has no picture of that number; 'farm show {row.id}' counts them")
    (graded,) = replay(farm, found, ground=ground_of(farm, row, job), name=row.name, means=means)
    name = f"{row.name}-{shown.replace('.', '-')}-rerun.{_suffix(job.spec.output)}"
    return Rerun(graded=graded, file_name=name, of=f"image {shown} of {row.name} ({row.id})")


def rerun_file(farm: Farm, file: Path, *, means: Means) -> Rerun:
    """Render the picture of a file again: the image that it is, or else what the file says of itself.

    Raises:
        UnreadableFile: It is no picture.
        UserError: The farm does not know it, and it does not say how it came to be.
        PartFailed: The embedded farm does not come up.
    """
    finding = find_file(farm, file)
    if finding.by in _PROVEN:
        first = finding.candidates[0]
        with farm.database.read() as connection:
            row = jobs.get(connection, first.job)
        return rerun_image(farm, row, first.number, means=means)
    original, output = _original(file, read_file(file))
    base = Spec(
        name=_name(file), mode=original.recipe["mode"], models={}, fixed={}, dimensions=(), output=output,
        inputs=_input_facts(farm, original.recipe),
    )  # fmt: skip
    wanted = {found for digests in digests_of(original.recipe).values() for found in digests}
    ground = Ground(base=base, models=[*registered_models(farm), *models_of_jobs(farm, wanted)])
    (graded,) = replay(farm, [original], ground=ground, name=base.name, means=means)
    return Rerun(graded=graded, file_name=f"{file.stem}-rerun.{_suffix(output)}", of=f"{file}, by what it says")


def models_of_jobs(farm: Farm, digests: set[str]) -> list[Model]:
    """Models of these digests that jobs of this farm used. Raises DatabaseAway."""
    with farm.database.read() as connection:
        rows = jobs.listing(connection, limit=MAX_JOBS)
    found: list[Model] = []
    for row in rows:
        mine = {key: facts.digest for key, facts in (row.models or {}).items() if facts.digest in digests}
        if mine and not set(mine.values()) <= {model.digest for model in found}:
            try:
                spec = farm.specs.load(row.id, spec_hash=row.spec_hash).spec
            except BlobMissing:
                continue
            found += models_of_job(spec, mine)
    return found


def _original(file: Path, data: bytes) -> tuple[Original, Mapping[str, Any]]:
    """What a file says of itself, held against the rules, and how its picture was encoded."""
    said = what_it_says(data)
    record = said.record or {}
    recipe, plan = record.get("recipe"), record.get("plan")
    if not isinstance(recipe, dict) or not isinstance(plan, dict):
        rule = "does not say how it came to be, and is no image of this farm; 'farm image FILE' names lookalikes"
        raise UserError(f"{file}: {rule}")
    if digest(recipe) != said.recipe_hash:
        raise UserError(f"{file}: keeps its prompts to itself, and no image of this farm has these pixels")
    try:
        check_recipe(recipe)
        _check_checker(recipe)
        checked = Plan.model_validate(plan)
    except InvalidSpec as error:
        raise UnreadableFile(file, f"names what no farm renders: {error}") from None
    except ValidationError:
        raise UnreadableFile(file, "names a plan that no farm renders by") from None
    libraries = record.get("libraries")
    original = Original(
        name=file.name, recipe=recipe, recipe_hash=said.recipe_hash or "", plan=checked,
        environment=libraries if isinstance(libraries, dict) else {}, load=lambda: data,
    )  # fmt: skip
    return original, _output(record.get("encoding"))


def _check_checker(recipe: Mapping[str, Any]) -> None:
    """A job says whether there is a safety checker, and a recipe which; no rule of a job file covers that."""
    said = recipe.get(SAFETY_CHECKER)
    if said is not None and not isinstance(said, str):
        raise InvalidSpec(f"recipe.{SAFETY_CHECKER}", said, "must be the digest of a model")


def _output(encoding: object) -> dict[str, Any]:
    """The output options that lead to a file like that."""
    said = encoding if isinstance(encoding, dict) else {}
    if said.get("format") not in ("png", "jpeg", "webp"):
        return {"format": "png"}
    return {key: said[key] for key in ("format", "quality", "lossless") if said.get(key) is not None}


def _input_facts(farm: Farm, recipe: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a spec says of its input images, of those that the store has."""
    found: dict[str, dict[str, Any]] = {}
    for name in inputs_of(recipe):
        if farm.store.head(input_key(name)) is not None:
            data = farm.store.get(input_key(name))
            facts = examine(data, max_pixels=farm.settings.input_pixels)
            found[name] = {
                "name": name, "width": facts.width, "height": facts.height, "format": facts.format, "bytes": len(data),
            }  # fmt: skip
    return found


def _suffix(output: Mapping[str, Any]) -> str:
    return _SUFFIX.get(str(output["format"]), str(output["format"]))


def _name(file: Path) -> str:
    """A job's name of a file's."""
    kept: Sequence[str] = [letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-"
                           for letter in file.stem]  # fmt: skip
    return "".join(kept).strip("-._")[:50] or "file"
