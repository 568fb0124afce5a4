"""Commands that hold stored pictures against what is recorded of them, and render them again."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dispatcher.cli.common import echo_json, json_option, open_farm

if TYPE_CHECKING:
    from dispatcher.farm import Farm
    from dispatcher.replaying.grading import Graded
    from dispatcher.replaying.running import Means
    from storage.sql.jobs import JobRow

_TOLD_EVERY = 5000  # images between two lines of progress
_SHOWN = 20  # faults in a table; --json has all
_devices = click.option(
    "--devices", default="all", show_default=True, help="all (every GPU, else the CPU), cpu, or 0,1."
)


@click.command(short_help="Read every picture of a job again; render a sample again.")
@click.argument("job")
@click.option("--bytes-only", is_flag=True, help="Do not decode the pictures.")
@click.option("--replay", "count", type=click.IntRange(1), metavar="N", help="Render N images again and grade them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of those N images.")
@click.option(
    "--expect", type=click.Choice(["A", "B", "C"]), default="B", show_default=True,
    help="With --replay: the worst grade that is all right.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="With --replay: leave the replay job, its rows and its objects.")
@_devices
@click.option("-v", "--verbose", is_flag=True, help="With --replay: name every image.")
@json_option
def verify(
    job: str, bytes_only: bool, count: int | None, seed: int, expect: str, keep: bool, devices: str, verbose: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Read every stored picture of JOB again: size, SHA-256 and pixels must be those that were recorded.

    With --replay, a sample is instead rendered again from its own recipe and plan, on the running farm or on an
    embedded one, never reusing what exists, and graded: A the same pixels, B a PSNR of 40 dB or more, C the same recipe
    and farther away, D not replayable. Each grade but A comes with its reasons.

    Ends with 1 if something is wrong, or if an image is below the grade that --expect names.
    """
    from storage.sql import jobs

    _check_options(replays=count is not None)
    farm = open_farm()
    with farm.database.read() as connection:
        row = jobs.find(connection, job)
    if count is None:
        return _verify(farm, row, pixels=not bytes_only, as_json=as_json)
    from dispatcher.replaying.grading import Grade, is_worse
    from dispatcher.replaying.replay import replay_job
    from dispatcher.replaying.running import Means

    say = None if as_json else _Told("rendered again")
    words = f"verify {row.id} --replay {count}"
    means = Means(devices=devices, source=words, keep=keep, say=say, tell=_tell_wait)
    graded = replay_job(farm, row, count=count, seed=seed, means=means)
    bad = sum(is_worse(one.grade, Grade(expect)) for one in graded)
    if as_json:
        echo_json(_replay_json(row, graded, seed=seed, bad=bad, expect=expect))
    else:
        _print_grades(row, graded, seed=seed, verbose=verbose)
        if bad:
            click.echo(f"farm: {bad} of {len(graded)} images are below grade {expect}", err=True)
    return 1 if bad else 0


@click.command(short_help="Render one image again from its provenance.")
@click.argument("image", metavar="JOB|FILE")
@click.argument("number", required=False)
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), help="File to write. [default: JOB-N-rerun]")
@_devices
@click.option("--keep", is_flag=True, help="Leave the replay job, its rows and its objects.")
@json_option
def rerun(image: str, number: str | None, to: Path | None, devices: str, keep: bool, as_json: bool) -> int:
    """Render image NUMBER (such as 12, or 12.1 for a take) of JOB again, and say how near it comes.

    Given a picture FILE, renders the image that it is; of a file that this farm does not know, what the file says of
    itself. The recipe in it is enough where the models it names are here.

    Ends with 1 if it could not be rendered.
    """
    from dispatcher.replaying.grading import MEANING
    from dispatcher.replaying.running import Means
    from dispatcher.views.gallery import write_file

    words = f"rerun {image}" if number is None else f"rerun {image} {number}"
    done = _rerun(open_farm(), image, number, means=Means(devices=devices, source=words, keep=keep, tell=_tell_wait))
    graded, file = done.graded, to or Path(done.file_name)
    if graded.picture is not None:
        write_file(file, graded.picture)
    if as_json:
        written = None if graded.picture is None else str(file)
        echo_json({**graded.to_json(), "meaning": MEANING[graded.grade], "of": done.of, "file": written})
    else:
        click.echo(f"{done.of}: grade {graded.grade}, {MEANING[graded.grade]}{_decibels(graded.psnr)}")
        for reason in graded.reasons:
            click.echo(f"  {reason}")
        if graded.picture is not None:
            click.echo(f"  {file}")
    return 1 if graded.picture is None else 0


def _check_options(*, replays: bool) -> None:
    """Refuse options that the other kind of look would ignore. Raises InvalidSpec."""
    from storage.errors import InvalidSpec

    context = click.get_current_context()
    for name in ("bytes_only",) if replays else ("seed", "expect", "keep", "devices", "verbose"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            rule = "looks at stored files, and --replay renders; leave one of them out"
            option = f"--{name.replace('_', '-')}"
            raise InvalidSpec(option, None, rule if replays else "is about --replay N; add it, or leave this out")


class _Told:
    """Says how far something is, on stderr, when it got farther."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = 0

    def __call__(self, done: int, total: int) -> None:
        if done > self._last:
            self._last = done
            click.echo(f"  {done} of {total} images {self._what}", err=True)


def _tell_wait(waits_for: str) -> None:
    click.echo(f"  {waits_for}", err=True)


def _rerun(farm: "Farm", image: str, number: str | None, *, means: "Means") -> Any:
    from dispatcher.cli.datasets.naming import check_is_file, find_image
    from dispatcher.replaying.alone import rerun_file, rerun_image

    if number is not None:
        row, place = find_image(farm, image, number)
        return rerun_image(farm, row, place, means=means)
    check_is_file(Path(image))
    return rerun_file(farm, Path(image), means=means)


def _verify(farm: "Farm", row: "JobRow", *, pixels: bool, as_json: bool) -> int:
    import time
    from dataclasses import asdict

    from dispatcher.replaying.verifying import verify_job
    from dispatcher.wording import counted, human

    begun = time.monotonic()
    told = 0

    def say(done: int) -> None:
        nonlocal told
        if done - told >= _TOLD_EVERY and not as_json:
            told = done
            click.echo(f"  {done} of {row.images} images read", err=True)

    found = verify_job(farm, row, pixels=pixels, say=say)
    if as_json:
        faults = [fault.to_json(row.id) for fault in found.faults]
        echo_json({"job": row.id, "name": row.name, **asdict(found), "faults": faults})
        return 1 if found.faults else 0
    click.echo(f"job {row.name} ({row.id}): {found.made} of {row.images} images made{_more(found)}")
    if not found.made:
        click.echo(f"there is nothing to read; './farm show {row.id}' counts its images")
        return 0
    decoded = f", the pixels of {found.decoded}" if found.decoded else ""
    read = f"{counted(found.read, 'file')}, {human(found.bytes)}{decoded}"
    click.echo(f"read {read}, in {time.monotonic() - begun:.1f} s")
    for fault in found.faults[:_SHOWN]:
        click.echo(f"  {fault}")
    if len(found.faults) > _SHOWN:
        click.echo(f"  and {len(found.faults) - _SHOWN} more; --json names all")
    if found.measured:
        click.echo(f"{counted(found.measured, 'image')} had no perceptual hash, as older farms made none; recorded now")
    bad = f"{counted(len(found.faults), 'image')} {'is' if len(found.faults) == 1 else 'are'} not what was recorded"
    click.echo(bad if found.faults else "all are what was recorded")
    return 1 if found.faults else 0


def _more(found: Any) -> str:
    parts = {"linked": found.linked, "failed": found.failed, "rejected": found.rejected}
    return "".join(f", {count} {word}" for word, count in parts.items() if count)


def _replay_json(row: "JobRow", graded: "Sequence[Graded]", *, seed: int, bad: int, expect: str) -> dict[str, Any]:
    from dispatcher.replaying.grading import counts, reasons, worst_psnr

    worst = worst_psnr(graded)
    return {
        "job": row.id, "name": row.name, "seed": seed, "sample": len(graded), "expect": expect, "below": bad,
        "grades": {str(grade): count for grade, count in counts(graded).items()},
        "worst_psnr": worst if worst is not None and math.isfinite(worst) else None,
        "reasons": [{"grade": str(grade), "reason": why, "images": times} for grade, why, times in reasons(graded)],
        "images": [one.to_json() for one in graded],
    }  # fmt: skip


def _print_grades(row: "JobRow", graded: "Sequence[Graded]", *, seed: int, verbose: bool) -> None:
    from dispatcher.replaying.grading import MEANING, counts, reasons, worst_psnr

    click.echo(f"job {row.name} ({row.id}): {len(graded)} of {row.done} images rendered again (draw {seed})")
    click.echo("grade  images  is")
    for grade, count in counts(graded).items():
        click.echo(f"{grade:<5}  {count:>6}  {MEANING[grade]}")
    if (worst := worst_psnr(graded)) is not None:
        compared = "all pixels" if all(one.psnr is not None for one in graded) else "all pixels that can be compared"
        click.echo(f"worst PSNR: {f'none, {compared} are equal' if worst == math.inf else f'{worst:.1f} dB'}")
    for grade, reason, times in reasons(graded):
        click.echo(f"  {grade}: {times} x {reason}")
    for one in graded if verbose else ():
        click.echo(f"  image {one.name}: {one.grade}{_decibels(one.psnr)}")


def _decibels(value: float | None) -> str:
    return "" if value is None or value == math.inf else f", PSNR {value:.1f} dB"
