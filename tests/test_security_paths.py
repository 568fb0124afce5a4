"""No name leads out of its place: keys, file names, models, node names, patterns, links."""

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.views.gallery import write_file
from dispatcher.views.naming import file_name
from storage.blobs import FolderStore
from storage.blobs.base import is_key
from storage.errors import FarmError, ModelMissing, UserError
from storage.models.local import LocalModels
from storage.models.sources import parse_hub, stored_digest
from storage.spec import check_job_file, freeze
from storage.spec.file.allowed import Allowed
from storage.sql.images import ImageRow
from storage.wire import keys
from worker.devices import host_name

LEADING_OUT = [
    "..", "../x", "a/../b", "a/..", "./a", "a/./b", "/etc/passwd", "//x", "a//b", "a/", "", ".", ".hidden",
    "a/.hidden", "~", "~/x",
    "a\\b", "..\\x", "C:\\x", "c:/x", "a\0b", "a\nb", "a b", "A", "ä", "a%2e%2e", "%2e%2e/x", "..;/x", "a*", "a?",
    "$HOME", "`x`",
    "..%c0%af", "\u2025/x", "．．/x", "a/" * 300 + "a", "a" * 600, "x" * 256, "jobs/a/1.1-r/../../../../etc/passwd",
    "-" * 513,
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    store.check()
    return store


@pytest.mark.parametrize("key", LEADING_OUT)
def test_a_store_takes_no_key_that_leads_out(store: FolderStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "x").write_bytes(b"secret")

    for use in (store.get, store.head, store.locate, lambda key: store.put(key, b"x"), lambda key: store.delete([key])):
        with pytest.raises(ValueError, match="must be parts of"):
            use(key)

    assert not is_key(key)
    assert (tmp_path / "x").read_bytes() == b"secret"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["store", "x"]


@pytest.mark.parametrize("prefix", ["../", "/", "a/../", ".tmp/", "a//", "\0"])
def test_a_store_lists_nothing_outside(store: FolderStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        list(store.list(prefix))


def row(**values: object) -> ImageRow:
    fields = dict.fromkeys(ImageRow.__dataclass_fields__)
    plain = {"number": 3, "seed": 7, "scheduler": "ddim", "options": {}, "labels": {}, "prompt": "a fox"}
    return ImageRow(**{**fields, **plain, **values})  # type: ignore[arg-type]


@given(
    prompt=st.text(), label=st.text(), scheduler=st.text(),
    pattern=st.sampled_from(["{prompt}", "{prompt}/{l}.png", "../{prompt}.png", "/{l}/{l}",
    "{scheduler}_{prompt!r}", "{l:>20}"]),
)  # fmt: skip
def test_a_file_name_stays_in_its_folder_whatever_a_job_says(
    prompt: str, label: str, scheduler: str, pattern: str
) -> None:
    name = file_name(pattern, row(prompt=prompt, scheduler=scheduler, labels={"l": label}))

    parts = name.split("/")
    assert not name.startswith("/")
    assert all(part and part not in (".", "..") and "\0" not in part for part in parts)
    assert Path(os.path.normpath(Path("/out") / name)).is_relative_to("/out")


PATTERNS = [
    "../../{number}.png", "/etc/{number}", "./../{number}", "{number}/../../x", "..", ".", "/", "//",
    "{prompt}/../..", "{labels}",
    "{prompt.__class__}", "{prompt.__class__.__mro__}", "{number.__init__.__globals__}", "{0}", "{}",
    "{prompt[0]}", "{number!x}",
    "{number:9999}", "a\0b{number}", "{prompt", "{number:{prompt}}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_gives_a_name_inside_or_is_refused(tmp_path: Path, pattern: str) -> None:
    try:
        name = file_name(pattern, row(prompt="../../etc/passwd"))
        write_file(tmp_path / "out" / name, b"x")
    except FarmError:
        name = ""
    assert len(name) < 300
    assert [each.name for each in tmp_path.iterdir()] in ([], ["out"])


@pytest.mark.parametrize(
    "name", ["../x", "..", "a/b", "A", "a.b", "-a", "a-", "a_b", "", "a" * 49, "a\0", "a\n", "ä", "$(x)", "*"]
)
def test_a_worker_has_a_plain_name(name: str) -> None:
    with pytest.raises(UserError, match="must be of a-z, 0-9"):
        host_name(name)


@pytest.mark.parametrize("host", ["../evil", "A.b", "", "..", "ÄÖ", "a" * 200, "a b", "-", "host\0", "host:6379"])
def test_the_name_of_any_host_becomes_a_plain_one(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)

    assert set(host_name()) <= set(string.ascii_lowercase + string.digits + "-")


MODELS = [
    "store:sha256:../../etc", "store:sha256:" + "A" * 64, "store:sha256:" + "a" * 63, "store:sha256:",
    "store:sha256:" + "a" * 64 + "/..",
    "../a/b@main", "/a/b", "~a/b", "./a/b", "a/b/c", "a/../b", "a/b@../../x y", "a/b?path=x&evil=1", "a/b?path=",
    "a\0/b", "a b/c",
]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_a_digest_an_id_of_the_hub_or_a_path_that_is_there(tmp_path: Path, name: str) -> None:
    assert stored_digest(name) is None
    with pytest.raises((FarmError, ValueError)):
        LocalModels(tmp_path / "home", None).find(name, kind=None)
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


@pytest.mark.parametrize("path", ["../../etc", "/etc/passwd", "a/../../b", "..", "."])
def test_a_place_in_a_repository_of_the_hub_cannot_lead_out_of_it(path: str) -> None:
    with pytest.raises(ModelMissing, match="leads out of the repository"):
        parse_hub(f"owner/name?path={path}")
    with pytest.raises(ModelMissing, match="leads out of the repository"):
        parse_hub(f"owner/name?encoder={path}")


@pytest.mark.parametrize(
    "name", ["..", ".", "../../x", "a/../../b", "/etc/x", "a\0b", "a\nb", "x" * 300, "∕etc", "$HOME"]
)
def test_the_name_of_a_job_makes_one_part_of_a_path(tmp_path: Path, name: str) -> None:
    raw = {"model": "owner/name", "prompt": "a fox", "name": name}
    try:
        spec = freeze(check_job_file(raw), base=tmp_path, name="job", max_images=9, allowed=Allowed())
    except UserError:
        return
    place = Path("outputs") / f"{spec.name}-abc"
    assert Path(os.path.normpath(place)).parent == Path("outputs")


def test_no_text_of_a_user_is_in_any_key() -> None:
    job, run, digest = keys.new_id(), keys.new_id(), "sha256:" + "0" * 64
    prefix = keys.run_prefix(job, 3, 1, run)
    made = [
        keys.spec_key(job, "0" * 64), keys.input_key(digest),
        keys.chunk_prefix(job, 3, 1) + "x", keys.manifest_key(prefix),
        keys.image_key(prefix, 5, "png"), keys.preview_key(prefix, 5),
    ]  # fmt: skip

    assert all(is_key(key) for key in made)
    assert set(job + run) <= set("0123456789abcdefghjkmnpqrstvwxyz")


@given(name=st.text(min_size=1), prompt=st.text(min_size=1), label=st.text(), column=st.text(min_size=1, max_size=20))
def test_whatever_a_user_writes_the_keys_of_a_job_are_ids_and_hashes(
    tmp_path_factory: pytest.TempPathFactory, name: str, prompt: str, label: str, column: str
) -> None:
    base = tmp_path_factory.mktemp("job")
    (base / "t.jsonl").write_text(json.dumps({"p": prompt, column: label}))
    raw = {
        "model": "owner/name",
        "name": name,
        "rows": {"file": "t.jsonl", "bind": {"prompt": "p"}, "labels": [column]},
    }
    try:
        spec = freeze(check_job_file(raw), base=base, name="job", max_images=9, allowed=Allowed())
    except UserError:
        return

    job = keys.new_id()
    made = [
        keys.spec_key(job, spec.hash),
        keys.image_key(keys.run_prefix(job, 1, 1, "r"), 0, "png"),
        *map(keys.input_key, spec.inputs),
    ]
    assert all(is_key(key) for key in made)
    assert spec.hash == spec.hash.lower()
    assert len(spec.hash.removeprefix("sha256:")) == 64


def test_patterns_of_input_images_follow_no_ring_of_links(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "again").symlink_to(tmp_path / "pictures")
    raw = {
        "model": "owner/name",
        "prompt": "a",
        "mode": "image-to-image",
        "axes": {"init_image": {"glob": "pictures/**/*.png"}},
    }

    with pytest.raises(UserError, match="holds no PNG"):
        freeze(check_job_file(raw), base=tmp_path, name="job", max_images=9, allowed=Allowed())


@pytest.mark.parametrize(
    "given", ["/dev/zero", "pipe.png", ".", "/proc/self/mem", "link.png", "\0", "~nobody-here/x.png", "x" * 400]
)
def test_an_input_image_is_an_ordinary_picture_file(tmp_path: Path, given: str) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    raw = {"model": "owner/name", "prompt": "a", "mode": "image-to-image", "init_image": given}

    with pytest.raises(UserError) as caught:
        freeze(check_job_file(raw), base=tmp_path, name="job", max_images=9, allowed=Allowed())

    assert "root:" not in str(caught.value)
