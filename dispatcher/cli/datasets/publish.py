"""The command that brings an export to the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.common import echo_json, json_option
from dispatcher.wording import counted

if TYPE_CHECKING:
    from dispatcher.export.publishing.parcel import Parcel
    from dispatcher.export.publishing.repository import Repository
    from dispatcher.export.publishing.sending import Published

_MESSAGE = "Data set made by Seedfarm"
_SHOWN = 20  # files of a dry run


@click.command(short_help="Bring an export to the Hugging Face hub.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--repo", required=True, metavar="OWNER/NAME", help="The data set repository; made if it is not there.")
@click.option("--public", is_flag=True, help="Let everybody read it; without this it is private.")
@click.option("--revision", default="main", show_default=True, metavar="BRANCH", help="Where to; made if need be.")
@click.option(
    "--message", default="Data set made by Seedfarm", show_default=True, metavar="TEXT", help="Of the commits."
)
@click.option("--dry-run", is_flag=True, help="Check the folder, say what would be sent, and contact nobody.")
@json_option
def publish(
    folder: Path, repo: str, public: bool, revision: str, message: str, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    """Bring an export, a FOLDER that farm export wrote, to the Hugging Face hub as a data set.

    Private unless --public is given. Every file is checked against SHA256SUMS first. Data go first and the card last,
    in commits of at most 100 files or 2 GB; given again, it sends only what is missing. Nothing there is deleted.

    The token is that of HF_TOKEN or of 'hf auth login'; it needs the right to write. HF_ENDPOINT names another hub.
    """
    from dispatcher.export.publishing.parcel import NotPublishable, pack
    from dispatcher.export.publishing.repository import Repository

    if str(folder).startswith("s3:/"):
        raise NotPublishable("FOLDER", "must be a folder here; copy the export from its bucket first")
    repository = Repository(repo, revision=revision)
    parcel = pack(folder)
    if not as_json:
        click.echo(_disclosure(parcel))
    if dry_run:
        _foretell(parcel, repository, public=public, as_json=as_json)
        return
    done = _send(parcel, repository, public=public, message=message, as_json=as_json)
    if as_json:
        echo_json({
            "repository": repo, "revision": revision, "page": repository.page, "public": done.is_public,
            "files_sent": done.sent.files, "bytes_sent": done.sent.bytes, "files_there": done.there,
            "strangers": list(done.strangers), "commit": done.commit,
        })  # fmt: skip
    else:
        _tell(done, repository)


def _send(
    parcel: "Parcel", repository: "Repository", *, public: bool, message: str, as_json: bool
) -> "Published":  # fmt: skip
    from dispatcher.export.publishing.sending import Sent
    from dispatcher.export.publishing.sending import publish as send
    from dispatcher.wording import human

    def say(sent: Sent) -> None:
        if not as_json:
            click.echo(f"sent {sent.files} of {sent.of_files} files, {human(sent.bytes)} of {human(sent.of_bytes)}")

    return send(parcel, repository, public=public, message=message, say=say)


def _disclosure(parcel: "Parcel") -> str:
    index, lasting = parcel.index, "what was public once cannot be taken back"
    if not index.says_prompts:
        labels = f", and the labels {', '.join(index.labels)}" if index.labels else ""
        return f"note: exported without prompts; hashes of recipes stand in it{labels}; {lasting}"
    also = ", and may be embedded in the pictures" if index.options.get("metadata") in (None, "full") else ""
    return f"note: prompts stand in the card and in the tables{also}; {lasting}"


def _foretell(parcel: "Parcel", repository: "Repository", *, public: bool, as_json: bool) -> None:
    from dispatcher.export.publishing.commits import commits
    from dispatcher.wording import human

    batches = list(commits(parcel.entries))
    ordered = [entry for batch in batches for entry in batch]
    if as_json:
        files = [{"name": entry.name, "bytes": entry.bytes, "sha256": entry.sha256} for entry in ordered]
        echo_json({
            "repository": repository.name, "revision": repository.revision, "page": repository.page,
            "public": public, "has_token": repository.has_token, "commits": len(batches), "files": files,
        })  # fmt: skip
        return
    for entry in ordered[:_SHOWN]:
        click.echo(f"  {human(entry.bytes):>9}  {entry.name}")
    if len(ordered) > _SHOWN:
        click.echo(f"  {'':>9}  … {len(ordered) - _SHOWN} more")
    seen = "public" if public else "private"
    what = f"{counted(len(ordered), 'file')}, {human(parcel.bytes)}, in {counted(len(batches), 'commit')}"
    click.echo(f"{what} to {repository.page} ({seen}, branch {repository.revision})")
    if not repository.has_token:
        click.echo("no token on this machine yet: set HF_TOKEN, or run 'hf auth login'")
    click.echo("nothing was sent")


def _tell(done: "Published", repository: "Repository") -> None:
    if done.strangers:
        names = ", ".join(done.strangers[:3])
        more = f" and {len(done.strangers) - 3} more" if len(done.strangers) > 3 else ""
        click.echo(f"note: {names}{more} were there before and are not of this export; they stay", err=True)
    seen = "public" if done.is_public else "private"
    sent = f"{counted(done.sent.files, 'file')} sent, {done.there} were there"
    click.echo(f"{sent if done.commit else 'all files were there'}; {seen}: {repository.page}")
