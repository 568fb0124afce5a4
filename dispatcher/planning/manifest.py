"""Whether a manifest says only what its run was asked to do. Pure."""

from storage.errors import ManifestRefused
from storage.spec import Job, Numbers, digest
from storage.spec.encoding import Encoding
from storage.spec.named_code import named_by
from storage.spec.number import show_number
from storage.spec.recipe import CHECKPOINT
from storage.sql.chunks import ChunkRow
from storage.sql.jobs import JobRow
from storage.wire.keys import image_key, preview_key, run_prefix
from storage.wire.messages import FLAGS, Manifest, Ranges


def check_manifest(manifest: Manifest, *, key: str, job: Job, job_row: JobRow, chunk: ChunkRow) -> None:
    """Check a manifest against the chunk that it answers.

    Args:
        manifest: As read from the store.
        key: Where it lay.
        job: The job's images.
        job_row: The job as stored.
        chunk: The chunk as stored.

    Raises:
        ManifestRefused: Says what is wrong.
    """
    _check_origin(manifest, key=key, job_row=job_row, chunk=chunk)
    if manifest.fatal is not None:
        return
    if chunk.kind == "resolve":
        if manifest.fault is None:
            _check_resolved(manifest, key=key, job=job)
        return
    if manifest.plan != chunk.plan:
        raise ManifestRefused(key, "was rendered by another plan")
    _check_models(manifest, key=key, job_row=job_row)
    _check_fault(manifest, key=key, chunk=chunk)
    _check_numbers(manifest, key=key, chunk=chunk)
    _check_images(manifest, key=key, job=job, job_row=job_row)


def _check_origin(manifest: Manifest, *, key: str, job_row: JobRow, chunk: ChunkRow) -> None:
    if not 1 <= manifest.attempt <= chunk.attempt:
        reason = f"attempt {manifest.attempt} was never issued (the last one is {chunk.attempt})"
        raise ManifestRefused(key, reason)
    if manifest.spec_hash not in (job_row.spec_hash, *job_row.specs):
        raise ManifestRefused(key, f"is about spec {manifest.spec_hash}")
    try:
        digest(manifest.environment)
    except (ValueError, RecursionError):
        raise ManifestRefused(key, "its environment is no plain JSON") from None


def _check_resolved(manifest: Manifest, *, key: str, job: Job) -> None:
    named = named_by(job.spec)
    if set(manifest.models) != set(named):
        raise ManifestRefused(key, f"resolves {sorted(manifest.models)}, the job names {sorted(named)}")
    for name, entry in manifest.models.items():
        if entry.kind != named[name]["kind"]:
            raise ManifestRefused(key, f"model {name!r} is a {entry.kind}, the job uses it as {named[name]['kind']}")
        if entry.kind == CHECKPOINT and (entry.width is None or entry.height is None):
            raise ManifestRefused(key, f"checkpoint {name!r} has no size")


def _check_models(manifest: Manifest, *, key: str, job_row: JobRow) -> None:
    if job_row.models is None:
        raise ManifestRefused(key, "came before the job's models were resolved")
    digests = {name: facts.digest for name, facts in job_row.models.items()}
    for name, entry in manifest.models.items():
        if digests.get(name) != entry.digest:
            raise ManifestRefused(key, f"model {name!r} had other bytes")


def _check_fault(manifest: Manifest, *, key: str, chunk: ChunkRow) -> None:
    if manifest.fault is None:
        return
    suspects = _numbers(manifest.fault.ranges, key=key, what="what the fault names", chunk=chunk)
    untried = set(_numbers(manifest.untried, key=key, what="untried", chunk=chunk))
    if not untried.issuperset(suspects):
        raise ManifestRefused(key, "lays its fault on images that it does not leave untried")


def _numbers(ranges: Ranges, *, key: str, what: str, chunk: ChunkRow) -> Numbers:
    """Ranges as numbers, no more than the chunk has: whoever goes on may count them one by one."""
    try:
        numbers = Numbers.from_json(ranges)
        count = len(numbers)
    except (TypeError, ValueError, OverflowError):
        raise ManifestRefused(key, f"{what} is no list of ranges") from None
    if count > chunk.images:
        raise ManifestRefused(key, f"{what}: {count} images, its chunk has {chunk.images}")
    return numbers


def _check_numbers(manifest: Manifest, *, key: str, chunk: ChunkRow) -> None:
    untried = _numbers(manifest.untried, key=key, what="untried", chunk=chunk)
    said = [made.number for made in manifest.images] + [failed.number for failed in manifest.failed]
    said += untried
    if len(said) != len(set(said)):
        raise ManifestRefused(key, "names an image twice")
    if set(said) != set(chunk.numbers):
        raise ManifestRefused(key, "does not account for exactly the images of its chunk")


def _check_images(manifest: Manifest, *, key: str, job: Job, job_row: JobRow) -> None:
    prefix = run_prefix(manifest.job, manifest.chunk, manifest.attempt, manifest.run)
    suffix = Encoding.of(job.spec.output).kind.suffix
    assert job_row.models is not None
    for made in manifest.images:
        shown = show_number(made.number)
        if made.key != image_key(prefix, made.number, suffix) or made.preview not in (
            None, preview_key(prefix, made.number),
        ):  # fmt: skip
            raise ManifestRefused(key, f"image {shown} names another object than its own below {prefix}")
        if unknown := [flag for flag in made.flags if flag not in FLAGS]:
            raise ManifestRefused(key, f"image {shown} has an unknown flag {unknown[0]!r}")
        place = job[made.number]
        recipe = None if place is None else job.recipe(place, job_row.models)
        if recipe is None or digest(recipe) != made.recipe_hash:
            raise ManifestRefused(key, f"image {shown} was rendered by another recipe")
        if (made.width, made.height) != (recipe["width"], recipe["height"]):
            raise ManifestRefused(key, f"image {shown} has another size than its recipe")
