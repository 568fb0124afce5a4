"""Input images of other hosts: no address in a job file makes the farm ask a machine that it should not."""

from collections.abc import Iterator

import pytest

from ssrf_watch import Watched, refusal, watch
from storage.spec.file.addresses import is_public

GOOD = "pictures.example.org"
HOSTS = frozenset({GOOD})
REFUSED_UNASKED = [
    # schemes
    "http://pictures.example.org/x.png", "ftp://pictures.example.org/x.png", "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x",
    "data://image/png;base64,AAAA", "dict://127.0.0.1:{port}/info", "s3://bucket/key", "unix:///run/docker.sock",
    "HTTP://pictures.example.org/x.png", "https+unix://127.0.0.1:{port}/x.png", "jar:https://pictures.example.org!/x.png",
    "//127.0.0.1:{port}/x.png",
    # this machine, in every spelling that some library reads
    "https://127.0.0.1:{port}/x.png", "https://localhost:{port}/x.png", "https://2130706433:{port}/x.png",
    "https://0x7f000001:{port}/x.png", "https://0x7f.0.0.1:{port}/x.png", "https://0177.0.0.1:{port}/x.png",
    "https://017700000001:{port}/x.png", "https://127.1:{port}/x.png", "https://127.0.1:{port}/x.png",
    "https://0:{port}/x.png", "https://0.0.0.0:{port}/x.png", "https://127.0.0.1.:{port}/x.png",
    "https://00127.0.0.1:{port}/x.png", "https://[::1]:{port}/x.png", "https://[::]:{port}/x.png",
    "https://[::ffff:127.0.0.1]:{port}/x.png", "https://[::ffff:7f00:1]:{port}/x.png", "https://[::127.0.0.1]:{port}/x.png",
    "https://[64:ff9b::7f00:1]:{port}/x.png", "https://[fe80::1%25lo]:{port}/x.png", "https://[::1%lo]:{port}/x.png",
    "https://[0:0:0:0:0:0:0:1]:{port}/x.png", "https://１２７.0.0.1:{port}/x.png", "https://①②⑦.0.0.1:{port}/x.png",
    "https://127。0。0。1:{port}/x.png", "https://xn--localhost-:{port}/x.png", "https://loc%61lhost:{port}/x.png",
    "https://localtest.me:{port}/x.png", "https://127.0.0.1.nip.io:{port}/x.png",
    # what clouds keep their keys behind
    "https://169.254.169.254/latest/meta-data/", "https://0xa9fea9fe/latest/", "https://[fd00:ec2::254]/latest/",
    "https://metadata.google.internal/computeMetadata/v1/", "https://100.100.100.200/latest/",
    # a good name in the wrong place
    "https://pictures.example.org@127.0.0.1:{port}/x.png", "https://127.0.0.1:{port}#@pictures.example.org/x.png",
    "https://127.0.0.1:{port}?@pictures.example.org/x.png", "https://127.0.0.1:{port}\\@pictures.example.org/x.png",
    "https://user:secret@pictures.example.org/x.png", "https://@pictures.example.org/x.png",
    "https://pictures.example.org:{port}/x.png", "https://pictures.example.org:/x y.png", "https://pictures.example.org./x.png",
    "https://pictures.example.org.evil.example/x.png", "https://evilpictures.example.org/x.png",
    "https://pictures.example.org%2eevil.example/x.png", "https://pictures.example.org:443:{port}/x.png",
    "https://pictures.example.org:99999/x.png", "https://pictures.example.org:-1/x.png", "https://pictureſ.example.org/x.png",
    "https://pictures.example.org/x.png\r\nHost: 127.0.0.1", "https://pictures.example.org/\t", "https://pictures。example。org/x.png",
    "https://", "https:///x.png", "https://?x", "https://[", "https://[::1/x.png", "https://%00/x.png",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.88.99.1", "198.18.0.1", "203.0.113.7",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8",
    "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "fec0::1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1",
    "2a00:1450:4001::5",
    "64:ff9b::808:808",
]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with watch(monkeypatch) as watched:
        yield watched


@pytest.mark.parametrize("address", REFUSED_UNASKED)
def test_an_address_that_is_not_plainly_allowed_is_refused_before_anybody_is_asked(
    watched: Watched, address: str
) -> None:
    watched.answer(["127.0.0.1"])

    said = refusal(address.format(port=watched.port), HOSTS)

    assert said.startswith("init_image = ")
    assert "secret" not in said.partition("': ")[2]
    assert (watched.lookups, watched.connected, watched.visitors) == ([], [], 0)


@pytest.mark.parametrize("address", PRIVATE)
def test_an_allowed_name_that_leads_to_no_public_address_is_not_connected_to(watched: Watched, address: str) -> None:
    watched.answer([address])

    said = refusal(f"https://{GOOD}/x.png", HOSTS)

    assert f"host {GOOD} leads to {address}, no public address" in said
    assert (watched.lookups, watched.connected, watched.visitors) == ([GOOD], [], 0)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_allowed_name_that_leads_to_a_public_address_is_asked_there(watched: Watched, address: str) -> None:
    watched.answer([address])

    refusal(f"https://{GOOD}/x.png", HOSTS)

    assert watched.connected == [address]


def test_of_several_addresses_only_the_public_ones_are_tried(watched: Watched) -> None:
    watched.answer(["127.0.0.1", "8.8.8.8", "169.254.169.254", "1.1.1.1"])

    said = refusal(f"https://{GOOD}/x.png", HOSTS)

    assert watched.connected == ["8.8.8.8", "1.1.1.1"]
    assert "cannot be fetched (the test lets nobody through)" in said


def test_a_name_is_looked_up_once_so_that_it_cannot_lead_elsewhere_a_moment_later(watched: Watched) -> None:
    watched.answer(["8.8.8.8"], ["127.0.0.1"])

    refusal(f"https://{GOOD}/x.png", HOSTS)

    assert (watched.lookups, watched.connected) == ([GOOD], ["8.8.8.8"])


def test_a_listed_address_may_be_private_on_its_own_port_only(watched: Watched) -> None:
    watched.answer(["10.0.0.5"])

    refusal(f"https://{GOOD}/x.png", HOSTS | {"10.0.0.5"})
    refusal("https://lan:8443/x.png", frozenset({"lan:8443", "10.0.0.5:8443"}))
    said = refusal("https://lan:8443/x.png", frozenset({"lan:8443", "10.0.0.5"}))

    assert watched.connected == ["10.0.0.5", "10.0.0.5"]
    assert "no public address" in said


def test_no_proxy_of_the_environment_is_asked(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{watched.port}")
    watched.answer(["8.8.8.8"])

    refusal(f"https://{GOOD}/x.png", HOSTS)

    assert (watched.connected, watched.visitors) == (["8.8.8.8"], 0)


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "0x7f000001", "2130706433", "127.1", "１２７.0.0.1", "8.8.8.8.", "[::1]"]
)
def test_what_is_no_plain_address_is_not_public(text: str) -> None:
    assert not is_public(text)
