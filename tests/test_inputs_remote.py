"""Input images of other hosts: which are asked, how often, and what happens to those that do not deliver."""

import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from input_pictures import png
from picture_host import PictureHost, picture_host
from storage.errors import UserError
from storage.settings import Settings
from storage.spec import check_job_file, freeze
from storage.spec.file.allowed import Allowed
from storage.spec.file.inputs import InputImages

NAME = f"sha256:{hashlib.sha256(png()).hexdigest()}"


def refusal(folder: Path, given: str, *, allowed: Allowed) -> str:
    with pytest.raises(UserError) as caught:
        InputImages(folder, allowed).take(given, path="init_image")
    return str(caught.value)


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[PictureHost]:
    with picture_host(tmp_path_factory.mktemp("host"), monkeypatch) as serving:
        yield serving


def test_hosts_are_listed_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_INPUT_HOSTS", "Pictures.example.org, other:8443,")

    assert Settings().allowed_hosts == {"pictures.example.org", "other:8443"}


def test_a_picture_of_an_allowed_host_is_fetched_once_and_gone_with_its_spec(tmp_path: Path, host: PictureHost) -> None:
    host.bodies["/fox.png?size=1"] = png()
    address = host.address("/fox.png?size=1")
    allowed = Allowed(input_hosts=host.allowed)

    job = {"model": "o/n", "prompt": "a fox", "mode": "image-to-image", "axes": {"init_image": [address, address]}}
    spec = freeze(check_job_file(job), base=tmp_path, name="job", max_images=9, allowed=allowed)

    file = Path(spec.files[NAME])
    assert host.asked == ["/fox.png?size=1"]
    assert spec.inputs[NAME]["name"] == "fox.png"
    assert file.read_bytes() == png()
    del spec
    gc.collect()
    assert not file.exists()


def test_a_host_that_nobody_allowed_is_not_asked(tmp_path: Path, host: PictureHost) -> None:
    said = refusal(tmp_path, host.address("/fox.png"), allowed=Allowed())

    assert said == (
        f"init_image = 'https://{host.name}/fox.png': host {host.name} is not in FARM_INPUT_HOSTS; add it there, "
        "or download the picture"
    )
    assert host.asked == []


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("https://elsewhere.example/x.png", "elsewhere.example is not in FARM_INPUT_HOSTS"),
        ("http://localhost/x.png", "must be a file, an https:// address"),
        ("file:///etc/passwd", "must be a file, an https:// address"),
    ],
)
def test_nobody_is_sent_on_to_another_host(tmp_path: Path, host: PictureHost, target: str, message: str) -> None:
    host.redirects["/fox.png"] = target

    said = refusal(tmp_path, host.address("/fox.png"), allowed=Allowed(input_hosts=host.allowed))

    assert message in said


def test_a_host_may_send_on_to_itself(tmp_path: Path, host: PictureHost) -> None:
    host.redirects["/old.png"] = "/new.png"
    host.bodies["/new.png"] = png()

    found = InputImages(tmp_path, Allowed(input_hosts=host.allowed)).take(host.address("/old.png"), path="init_image")

    assert found == NAME


def test_a_host_that_does_not_deliver_is_named(tmp_path: Path, host: PictureHost) -> None:
    allowed = Allowed(input_hosts=host.allowed | {"localhost:1", "127.0.0.1:1"}, input_bytes=100)
    host.bodies["/long.png"] = png() + bytes(1000)
    host.bodies["/page.png"] = b"<html>"
    host.redirects["/ring.png"] = "/ring.png"

    assert "the host answers 404" in refusal(tmp_path, host.address("/none.png"), allowed=allowed)
    assert "has more than 100 bytes (FARM_INPUT_BYTES)" in refusal(tmp_path, host.address("/long.png"), allowed=allowed)
    assert "is no PNG" in refusal(tmp_path, host.address("/page.png"), allowed=allowed)
    assert "the host answers 302" in refusal(tmp_path, host.address("/ring.png"), allowed=allowed)
    assert "cannot be fetched" in refusal(tmp_path, "https://localhost:1/x.png", allowed=allowed)


@pytest.mark.parametrize(
    "address",
    [
        "http://good.example/x.png",
        "ftp://good.example/x.png",
        "file:///etc/passwd",
        "s3://bucket/x.png",
        "https://good.example@evil.example/x.png",
        "https://evil.example\\@good.example/x.png",
        "https://user:secret@good.example/x.png",
        "https://good.example:8443/x.png",
        "https://good.example.evil.example/x.png",
        "https://good.example/a b.png",
        "https://good.example/x.png\r\nX: y",
        "https:///x.png",
        "https://[::1/x.png",
        "https://good.example:port/x.png",
    ],
)
def test_an_address_that_is_not_plainly_allowed_is_refused(tmp_path: Path, address: str) -> None:
    said = refusal(tmp_path, address, allowed=Allowed(input_hosts=frozenset({"good.example"})))

    assert said.startswith("init_image = ")
    assert "fetched" not in said
