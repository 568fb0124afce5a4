"""Publishing to a hub that is played by the test: what arrives, what is refused, and going on after a break."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

from card_folders import exported, job, rewrite
from dispatcher.export.card.finishing import finish
from dispatcher.export.publishing import commits as cutting
from typed import Ended, typed
from upload_hub import READER, TOKEN, UploadHub, serve_uploads

# The hub's library hands httpx a file in a way that httpx wants to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Publish = Callable[..., Ended]
REPO = "owner/foxes"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UploadHub]:
    with serve_uploads() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # this hub has no such store
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)  # between its own repetitions
        _http.close_session()  # connections to the hub of an earlier test
        yield server
        _http.close_session()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("publish") / "foxes"
    target, index = exported(place)
    finish(target, index, [job()])
    return place


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    return shutil.copytree(made, tmp_path / "foxes")


@pytest.fixture
def publish(capsys: pytest.CaptureFixture[str], folder: Path) -> Publish:
    def run(*options: str, place: Path = folder, repo: str = REPO) -> Ended:
        return typed(capsys, "publish", str(place), "--repo", repo, *options)

    return run


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }


def test_every_file_arrives_as_it_is_and_nobody_else_may_read_it(
    hub: UploadHub, publish: Publish, folder: Path
) -> None:
    done = publish()

    shelf = hub.shelves[REPO]
    assert (done.stderr, done.returncode) == ("", 0)
    assert shelf.branches["main"] == files_of(folder)
    assert shelf.private
    assert (
        done.stdout.splitlines()[-1]
        == f"{len(files_of(folder))} files sent, 0 were there; private: {hub.url}/datasets/{REPO}"
    )


def test_a_second_call_sends_nothing(hub: UploadHub, publish: Publish) -> None:
    publish()
    puts, messages = list(hub.puts), list(hub.shelves[REPO].messages)

    done = publish()

    assert done.stdout.splitlines()[-1].startswith("all files were there")
    assert (hub.puts, hub.shelves[REPO].messages) == (puts, messages)


def test_what_describes_the_data_is_committed_last(
    hub: UploadHub, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "FILES", 2)
    hub.faults = [("/commit/", None), ("/commit/", None), ("/commit/", 0)]

    cut = publish()
    there = set(hub.shelves[REPO].branches["main"])
    again = publish()

    assert (cut.returncode, len(there)) == (1, 4)
    assert {name.split("/")[0] for name in there} == {"data", "metadata"}
    assert cut.stderr.startswith(f"farm: hub {hub.url}: broke off (")
    assert cut.stderr.rstrip().endswith("give the same command again, what arrived stays")
    assert again.returncode == 0
    assert hub.shelves[REPO].messages[-1] == "Data set made by Seedfarm (3 of 3)"
    assert "README.md" in hub.shelves[REPO].branches["main"]


def test_after_a_break_only_what_is_missing_is_sent(
    hub: UploadHub, publish: Publish, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(cutting, "FILES", 1)
    publish("--repo", "owner/other")  # so that the second file of this one can be refused by its hash
    order = list(hub.puts)
    hub.puts.clear()
    hub.objects.clear()
    hub.faults = [(f"PUT /objects/{order[3]}", 403)]

    refused = publish()
    first = list(hub.puts)
    done = publish()

    assert refused.returncode == 2
    assert done.returncode == 0
    assert first == order[:3]
    assert hub.puts[:7] == order[:7]
    assert sorted(hub.puts) == sorted(order)  # each of them once
    assert hub.shelves[REPO].branches["main"] == files_of(folder)


def test_a_line_that_breaks_once_is_not_even_noticed(hub: UploadHub, publish: Publish) -> None:
    hub.faults = [("PUT /objects", 0), ("preupload", 503)]

    assert publish().returncode == 0


@pytest.mark.parametrize(
    ("token", "fault", "code", "says"),
    [
        pytest.param(None, None, 2, "no token on this machine; set HF_TOKEN", id="no token"),
        pytest.param("hf_wrong", None, 2, "the hub does not know this token (401)", id="wrong token"),
        pytest.param(READER, None, 2, "this token may not write there (403", id="token that only reads"),
        pytest.param(TOKEN, ("GET /api/datasets/owner/foxes", 404), 2, "no such owner, repository or branch", id="404"),
        pytest.param(TOKEN, ("/commit/", 409), 1, "somebody else is changing owner/foxes (409)", id="409"),
        pytest.param(TOKEN, ("/commit/", 500), 1, "cannot do it now (500)", id="500"),
        pytest.param(TOKEN, ("/commit/", 413), 2, "the hub finds it too large (413", id="413"),
    ],
)
def test_a_refusal_is_one_line(
    hub: UploadHub, publish: Publish, monkeypatch: pytest.MonkeyPatch,
    token: str | None, fault: tuple[str, int] | None, code: int, says: str,
) -> None:  # fmt: skip
    hub.faults = [fault] if fault else []
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)

    done = publish()

    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert says in done.stderr
    assert "hf_" not in done.stdout + done.stderr


def test_a_card_that_the_hub_refuses_is_told_before_data_are_sent(
    hub: UploadHub, publish: Publish, folder: Path
) -> None:
    rewrite(folder, "README.md", ("license: creativeml-openrail-m", "license: nonsense"))

    done = publish()

    assert (done.returncode, hub.puts) == (2, [])
    assert "license" in done.stderr


def test_a_public_repository_needs_a_word(hub: UploadHub, publish: Publish) -> None:
    assert publish("--public").stdout.splitlines()[-1].endswith(f"public: {hub.url}/datasets/{REPO}")

    refused = publish()

    assert refused.returncode == 2
    assert "it is there already and public; add --public to agree" in refused.stderr


def test_another_branch_is_made(hub: UploadHub, publish: Publish, folder: Path) -> None:
    assert publish("--revision", "v2").returncode == 0

    assert hub.shelves[REPO].branches == {"main": {}, "v2": files_of(folder)}


def test_files_of_others_stay_and_are_told(hub: UploadHub, publish: Publish) -> None:
    publish()
    hub.shelves[REPO].branches["main"]["old.tar"] = b"old"

    done = publish()

    assert "note: old.tar were there before" in done.stderr
    assert "old.tar" in hub.shelves[REPO].branches["main"]


def test_a_dry_run_tells_all_and_asks_nobody(hub: UploadHub, publish: Publish) -> None:
    done = publish("--dry-run")

    assert (done.returncode, hub.asked) == (0, [])
    assert "  20.5 kB  data/train-000000.tar" in done.stdout
    assert done.stdout.splitlines()[-1] == "nothing was sent"
    assert f"to {hub.url}/datasets/{REPO} (private, branch main)" in done.stdout


def _break(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"other")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda folder: _break(folder, "data/train-000001.tar"), "is not what SHA256SUMS says", id="hash"),
        pytest.param(lambda folder: _break(folder, "LICENSE-NOTES.md"),
                     "write there what 'sha256sum LICENSE-NOTES.md' prints", id="edited"),
        pytest.param(lambda folder: (folder / "data/train-000001.tar").unlink(), "is missing", id="lost"),
        pytest.param(lambda folder: _break(folder, "data/more.tar"), "is not in SHA256SUMS", id="stranger"),
        pytest.param(lambda folder: (folder / "SHA256SUMS").unlink(), "has no SHA256SUMS", id="no sums"),
        pytest.param(lambda folder: _break(folder, "SHA256SUMS"), "line 1: must be 64 hex digits", id="broken sums"),
        pytest.param(lambda folder: _break(folder, ".farm/index.json"), "is no index of an export", id="broken index"),
        pytest.param(lambda f: rewrite(f, ".farm/index.json", ('"complete":true', '"complete":false')),
                     "the export is not finished", id="unfinished"),
        pytest.param(lambda f: rewrite(f, "README.md", ("---\npretty", "pretty")), "must begin with", id="no front"),
        pytest.param(lambda f: rewrite(f, "README.md", ("pretty_name: foxes", "a: [")), "is no YAML", id="no yaml"),
        pytest.param(lambda f: rewrite(f, "README.md", ("data/train-*", "x/train-*")), "finds no file", id="pattern"),
        pytest.param(lambda f: rewrite(f, "README.md", ("license: c", "x: c")), "must say license:", id="no licence"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_right_is_not_sent(
    hub: UploadHub, publish: Publish, folder: Path, spoil: Callable[[Path], Any], says: str
) -> None:
    spoil(folder)

    done = publish()

    assert (done.returncode, hub.asked, done.stderr.count("\n")) == (2, [], 1)
    assert says in done.stderr


@pytest.mark.parametrize(
    ("repo", "says"),
    [
        pytest.param("foxes", "must be owner/name", id="no owner"),
        pytest.param("a b/c", "farm: --repo a b/c: ", id="a space"),
        pytest.param("a/b/c", "farm: --repo a/b/c: ", id="too many parts"),
    ],
)
def test_a_name_that_can_be_none_is_refused(hub: UploadHub, publish: Publish, repo: str, says: str) -> None:
    done = publish(repo=repo)

    assert (done.returncode, hub.asked) == (2, [])
    assert says in done.stderr


def test_a_bucket_is_no_folder(publish: Publish) -> None:
    done = publish(place=Path("s3://bucket/x"))

    assert (done.returncode, done.stderr) == (
        2, "farm: FOLDER: must be a folder here; copy the export from its bucket first\n",
    )  # fmt: skip
