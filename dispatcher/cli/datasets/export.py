"""The command that makes a data set of jobs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dispatcher.cli.common import echo_json, json_option, open_farm, plain_option
from dispatcher.wording import counted, human

if TYPE_CHECKING:
    from dispatcher.export.engine import Outcome
    from dispatcher.export.sources import Source
    from storage.marks.credentials import Signing

_FLAGS = ("truncated", "nsfw", "low_variance")


@click.command(short_help="Make a data set of jobs: tars, parquet, or a folder of pictures.")
@click.argument("jobs", nargs=-1, required=True, metavar="JOB...")
@click.option("--to", required=True, metavar="FOLDER|s3://BUCKET/PREFIX", help="Where the data set goes.")
@click.option(
    "--as", "format_", type=click.Choice(["webdataset", "imagefolder", "parquet", "folder"]), default="webdataset",
    show_default=True, help="Layout. A folder holds pictures only, or with .txt captions.",
)  # fmt: skip
@click.option("--where", metavar="EXPR", help="Only images such as \"scheduler='ddim' and guidance_scale<8\".")
@click.option("--with-rejected", is_flag=True, help="Also images that the quality rules of their job reject.")
@click.option("--without", metavar="FLAG,...", help="No images with these flags: truncated, nsfw, low_variance.")
@click.option("--limit", type=click.IntRange(1), help="At most that many images.")
@click.option("--split", metavar="NAME=SHARE,...", help="Such as train=0.9,test=0.1. [default: all in train]")
@click.option(
    "--split-by", type=click.Choice(["image", "prompt"]), default="image", show_default=True,
    help="What never changes its split; prompt keeps all images of one together.",
)  # fmt: skip
@click.option("--caption", metavar="COLUMN", help="Column or label for captions. [default: prompt]")
@click.option("--captions", is_flag=True, help="With --as folder: a .txt beside each picture.")
@click.option("--cls", metavar="COLUMN", help="Label or text column that becomes the class, as a whole number.")
@click.option("--name", "pattern", metavar="PATTERN", help="With --as folder: goes behind the number of each name.")
@click.option("--size", metavar="WxH|N", help="Scale and crop to W x H pixels, or shrink the longer side to N.")
@click.option("--format", "encode", type=click.Choice(["png", "jpeg", "webp"]), help="Encode anew.")
@click.option("--quality", type=click.IntRange(1, 100), help="Of jpeg and webp.")
@click.option("--metadata", type=click.Choice(["full", "minimal", "none"]), help="What the files themselves tell.")
@click.option(
    "--prompts/--no-prompts", default=True,
    help="Without: no prompt, template or word of one in any file of the data set. Labels of rows stay.",
)  # fmt: skip
@click.option("--sign", type=click.Path(dir_okay=False, path_type=Path), help="Sign files (C2PA) by this certificate.")
@click.option("--sign-key", type=click.Path(dir_okay=False, path_type=Path), help="Its private key, PEM.")
@click.option(
    "--sign-as", metavar="ALGORITHM",
    help="What it is for: es256, es384, es512, ps256, ps384, ps512 or ed25519.  [default: es256]",
)  # fmt: skip
@click.option("--sign-tsa", metavar="URL", help="A time stamping authority, asked once a file.")
@click.option("--sign-no-training", is_flag=True, help="Say that files are not to be used for training or mining.")
@click.option("--shard-images", type=click.IntRange(1, 100_000), help="Images a shard. [default: about 1 GB]")
@click.option("--append", is_flag=True, help="Add what is new to an export that is there.")
@click.option("--check", is_flag=True, help="Read finished shards again; what is damaged is made anew.")
@click.option("--skip-broken", is_flag=True, help="Leave out and list images whose objects are lost or damaged.")
@click.option("--workers", type=click.IntRange(1, 128), help="Pictures read at a time. [default: 4, from S3 8]")
@click.option("--dry-run", is_flag=True, help="Count and write nothing.")
@plain_option
@json_option
def export(jobs: tuple[str, ...], to: str, as_json: bool, plain: bool, dry_run: bool, **said: Any) -> int:
    """Make a data set of finished images, in the order of the jobs and of their numbers.

    Every layout opens with `datasets`, tars also with `webdataset`, without code of ours. Repeat the same command to
    go on with an export that was cut off: finished shards stay. Shards do not depend on --workers, and a repeated
    export of the same images gives the same bytes; files that are signed differ each time.

    \b
    farm export @last --to set
    farm export colors --to s3://bucket/colors --as parquet --split train=0.9,test=0.1
    farm export colors --to lora --as folder --captions --size 512x512 --format jpeg
    """  # noqa: D301  # the backspace tells Click to keep the lines
    from dispatcher.export.beginning import check_wish
    from dispatcher.export.engine import Exporter, Way
    from dispatcher.export.following import following
    from dispatcher.export.sources import paths_of, sources_of
    from dispatcher.export.targets import open_target

    signing = _signing(said)
    way = {name: said.pop(name) for name in ("workers", "append", "check", "skip_broken")}
    options = _options(said, signing)
    farm = open_farm()
    target = open_target(to, farm.settings)
    sources = sources_of(farm, jobs)
    exporter = Exporter(farm, target, check_wish(sources, options), Way(**way, signing=signing))
    _tell_paths(paths_of(sources))
    _tell_unjudged(sources)
    if dry_run:
        _tell_forecast(exporter.forecast(), as_json=as_json)
        return 0
    try:
        with following(plain=plain, quiet=as_json) as say:
            outcome = exporter.run(say)
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on behind the last finished shard", err=True)
        raise
    _tell(outcome, target.address, as_json=as_json)
    return 1 if outcome.left_out else 0


def _options(said: dict[str, Any], signing: "Signing | None") -> Any:
    from dispatcher.export.options import ExportOptions
    from storage.errors import InvalidSpec, nearest

    flags = tuple(sorted({flag.strip() for flag in (said.pop("without") or "").split(",") if flag.strip()}))
    for flag in flags:
        if flag not in _FLAGS:
            raise InvalidSpec("--without", flag, f"is no flag; {nearest(flag, _FLAGS)}")
    pattern, format_ = said.pop("pattern"), said.pop("format_")
    for option, value in (("--captions", said["captions"] or None), ("--name", pattern)):
        if value is not None and format_ != "folder":
            raise InvalidSpec(option, None, "goes with --as folder only; other layouts hold captions and names anyway")
    certificate = None if signing is None else hashlib.sha256(signing.chain).hexdigest()
    return ExportOptions(**said, without=flags, name=pattern, format=format_, certificate=certificate)


def _signing(said: dict[str, Any]) -> "Signing | None":
    """What files are signed with. Takes out of `said` what the export itself need not know."""
    from storage.errors import InvalidSpec, UnreadableFile, nearest
    from storage.marks.credentials import ALGORITHMS, Signing

    certificate, key, algorithm = (said.pop(name) for name in ("sign", "sign_key", "sign_as"))
    if certificate is None and key is None:
        further = {
            "--sign-as": algorithm,
            "--sign-tsa": said["sign_tsa"],
            "--sign-no-training": said["sign_no_training"],
        }
        if alone := next((option for option, value in further.items() if value), None):
            raise InvalidSpec(alone, None, "goes with --sign and --sign-key")
        return None
    if certificate is None or key is None:
        raise InvalidSpec("--sign", None, "goes with --sign-key: a certificate and its private key")
    if algorithm not in (None, *ALGORITHMS):
        raise InvalidSpec("--sign-as", algorithm, f"is no algorithm of C2PA; {nearest(algorithm, ALGORITHMS)}")
    try:
        return Signing(
            chain=certificate.read_bytes(), key=key.read_bytes(), algorithm=algorithm or "es256",
            tsa_url=said["sign_tsa"], no_training=said["sign_no_training"],
        )  # fmt: skip
    except OSError as error:
        raise UnreadableFile(error.filename, (error.strerror or str(error)).lower()) from None


def _tell_forecast(forecast: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        echo_json(forecast)
        return
    images, shards = counted(forecast["images"], "image"), counted(forecast["shards"], "shard")
    click.echo(
        f"{images} in {shards} of up to {forecast['shard_images']}, {human(forecast['bytes_rendered'])} as rendered; "
        f"{forecast['rejected']} rejected or failed"
    )
    if not forecast["images"]:
        _tell_none()
    for name, split in forecast["splits"].items():
        click.echo(f"  {name}  {counted(split['rows'], 'image')}, {counted(split['shards'], 'shard')}")


def _tell_paths(paths: Sequence[str]) -> None:
    if paths:
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        says = f"its rows name the model {paths[0]}{more} as the job file does"
        click.echo(f"note: {says}; './farm model add NAME PATH' gives a model a name to use instead", err=True)


def _tell_unjudged(sources: Sequence["Source"]) -> None:
    for row in (source.row for source in sources):
        if row.has_rules and not row.judged:
            says = "its quality rules have not judged all of it; what they reject later stays in the export"
            click.echo(f"note: job {row.name} ({row.id}): {says}", err=True)


def _tell_none() -> None:
    click.echo("note: no image is done, accepted and selected; 'farm show JOB' counts what there is", err=True)


def _tell(outcome: "Outcome", address: str, *, as_json: bool) -> None:
    index = outcome.index
    if as_json:
        echo_json(outcome.to_json() | {"to": address})
        return
    for name in outcome.remade:
        click.echo(f"made anew, since it was missing or damaged: {name}")
    total = sum(shard.rows for shard in index.shards.values())
    size = sum(shard.bytes for shard in index.shards.values())
    listed = sum(shard.rows for shard in index.rejected.values())
    there = f"{counted(total, 'image')} in {counted(len(index.shards), 'shard')}, {human(size)}, in {address}"
    click.echo(f"{there}; {outcome.images} new")
    if not total:
        _tell_none()
    if listed:
        where = "metadata/rejected-*.parquet says why"
        click.echo(f"{counted(listed, 'image')} {'is' if listed == 1 else 'are'} not in it: {where}")
    if not index.says_prompts:
        stay = f"; labels in it: {', '.join(index.labels)}" if index.labels else ""
        click.echo(f"no prompts in it{stay}")
    if outcome.left_out:
        says = "'farm fsck --repair' finds other copies or counts them as failed, for 'farm retry'"
        click.echo(f"{outcome.left_out} of them are lost or damaged; {says}")
