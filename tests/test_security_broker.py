"""A broker that others can reach has a password, and over TLS a certificate that is checked."""

import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml
from click.testing import CliRunner

from dispatcher.cli.root import main as farm
from picture_host import certificate
from servers.program import Program
from servers.valkey import find_valkey
from storage.errors import InvalidSetting
from storage.settings import load_settings, without_password
from storage.wire.broker_safety import celery_url, is_loopback, problem_of
from storage.wire.celery_app import make_app

ROOT = Path(__file__).resolve().parent.parent
HERE = [
    "redis://127.0.0.1:6379/0", "redis://127.1.2.3", "redis://localhost:1/0", "redis://LocalHost.", "redis://a.localhost",
    "redis://[::1]:6379/0", "redis://[::ffff:127.0.0.1]:6379", "redis:///0", "redis://:6379", "rediss://localhost",
    "unix:///run/valkey.sock", "unix:///run/valkey.sock?db=3",
]  # fmt: skip
GUARDED = [
    "redis://:secret@valkey:6379/0", "rediss://:secret@valkey", "redis://user:secret@10.0.0.5", "redis://valkey?password=secret",
    "unix://:secret@/run/valkey.sock", "rediss://u:secret@broker.example.org:6380/1?ssl_ca_certs=/ca.pem",
]  # fmt: skip
OPEN = [
    "redis://valkey:6379/0", "rediss://valkey:6379/0", "redis://10.0.0.5", "redis://192.168.1.2:6379", "redis://0.0.0.0:6379",
    "redis://[2001:db8::5]:6379", "redis://[::]:6379", "redis://:@valkey:6379", "redis://user@valkey:6379", "redis://user:@valkey",
    "redis://localhost.evil.example", "redis://127.0.0.1.nip.io", "redis://127.1", "redis://0x7f000001", "redis://valkey?password=",
    "redis://128.0.0.1",
]  # fmt: skip
MISSHAPEN = [
    "http://valkey", "valkey:6379", "amqp://:secret@valkey", "redis://:se/cret@valkey:6379", "redis://:se#cret@valkey:6379",
    "redis://valkey:port", "redis://valkey:6379/db", "redis://[::1", "redis://?host=valkey", "unix://", "sentinel://:secret@valkey",
    "redis://localhost:6379/0;redis://:secret@valkey:6379/0", "redis+socket:///run/x.sock",
]  # fmt: skip


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("FARM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    return monkeypatch


@pytest.mark.parametrize("url", HERE + GUARDED)
def test_a_broker_on_this_machine_or_behind_a_password_may_be_used(url: str) -> None:
    assert problem_of(url, insecure=False) is None


@pytest.mark.parametrize("url", OPEN)
def test_an_open_broker_elsewhere_is_refused_unless_somebody_says_so(clean: pytest.MonkeyPatch, url: str) -> None:
    clean.setenv("FARM_BROKER_URL", url)
    with pytest.raises(InvalidSetting) as caught:
        load_settings()
    clean.setenv("FARM_INSECURE_BROKER", "yes")
    settings = load_settings()

    assert "is off this machine and its URL has no password" in str(caught.value)
    assert "FARM_INSECURE_BROKER=yes" in str(caught.value)
    assert settings.broker_url is not None


@pytest.mark.parametrize("url", MISSHAPEN)
def test_a_url_of_another_shape_is_refused_without_being_shown(clean: pytest.MonkeyPatch, url: str) -> None:
    clean.setenv("FARM_BROKER_URL", url)

    with pytest.raises(InvalidSetting) as caught:
        load_settings()

    assert str(caught.value).startswith("FARM_BROKER_URL: must be redis://[:PASSWORD@]HOST:PORT/DB")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["valkey", "10.0.0.1", "::2", "localhost2", "xlocalhost", "127.0.0.1.example.org", "2130706433"]
)
def test_only_what_is_surely_this_machine_counts_as_it(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "command",
    [
        ["dispatcher.cli", "doctor"],
        ["dispatcher.cli", "dispatcher"],
        ["dispatcher.cli", "up"],
        ["dispatcher.cli", "flower"],
        ["dispatcher.cli", "ls"],
        ["worker.cli", "start", "--devices", "cpu"],
        ["worker.node", "--node", "a-cpu"],
    ],
    ids=" ".join,
)
def test_every_program_refuses_an_open_broker_in_one_sentence(clean: pytest.MonkeyPatch, command: list[str]) -> None:
    clean.setenv("FARM_BROKER_URL", "redis://valkey.example.org:6379/0")

    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "FARM_BROKER_URL: valkey.example.org:6379 is off this machine and its URL has no password" in line


def test_the_doctor_says_so_where_an_open_broker_was_allowed(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("FARM_BROKER_URL", "redis://broker.invalid:1/0")
    clean.setenv("FARM_INSECURE_BROKER", "yes")

    said = CliRunner().invoke(farm, ["doctor"]).output

    assert "FARM_INSECURE_BROKER lets anybody who reaches it run this farm" in said


def test_our_compose_file_gives_every_program_a_password_for_the_broker() -> None:
    text = (ROOT / "compose.yaml").read_text()
    urls = re.findall(r"FARM_BROKER_URL: *(\S+)", text) + re.findall(
        r"^FARM_BROKER_URL=(\S+)", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE
    )
    config = yaml.safe_load(text)["configs"]["valkey"]["content"]

    assert len(urls) == 2
    for url in urls:
        assert problem_of(re.sub(r"\$\{VALKEY_PASSWORD-?\}", "x", url), insecure=False) is None
        assert problem_of(re.sub(r"\$\{VALKEY_PASSWORD-?\}", "", url), insecure=False) or "127.0.0.1" in url
    assert "requirepass ${VALKEY_PASSWORD:?" in config  # compose refuses to start without one


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://:a%40b@h:1/2", "redis://:a%40b@h:1/2"),
        ("rediss://:p@h:1/2", "rediss://:p@h:1/2?ssl_cert_reqs=required&ssl_check_hostname=true"),
        (
            "rediss://:p@h?ssl_ca_certs=/ca.pem",
            "rediss://:p@h?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=/ca.pem",
        ),
        ("rediss://:p@h?ssl_cert_reqs=none", "rediss://:p@h?ssl_cert_reqs=none"),
        ("unix://:p@/run/x.sock?db=3", "redis+socket://:p@/run/x.sock?virtual_host=3"),
        ("unix:///run/x.sock", "redis+socket:///run/x.sock?virtual_host=0"),
    ],
)
def test_celery_is_told_in_its_own_words_and_to_check_certificates(url: str, wanted: str) -> None:
    assert celery_url(url) == wanted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:se#cr/et@h:1", "redis://:***@h:1"),
        ("redis://:s@cret@h:1", "redis://:***@h:1"),
        ("postgresql+psycopg://h/db?user=u&password=secret&x=1", "postgresql+psycopg://h/db?user=u&password=***&x=1"),
        ("unix://u:secret@/run/x.sock", "unix://u:***@/run/x.sock"),
    ],
)
def test_a_password_is_hidden_wherever_a_url_holds_it(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server with a certificate that nobody vouches for, and what it was told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    listener, heard = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(line, server_side=True) as talk:
                    heard.append(talk.recv(4096))
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heard
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_an_impostor_with_a_certificate_of_its_own_never_hears_the_password(impostor: tuple[int, list[bytes]]) -> None:
    port, heard = impostor
    url = f"rediss://:secret@localhost:{port}/0"

    with (
        pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"),
        make_app(url, role="test").connection_for_write() as line,
    ):
        line.default_channel.client.ping()
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        redis.Redis.from_url(url, retry=None).ping()

    assert not [words for words in heard if words]


def test_a_broker_behind_a_socket_file_is_reached_by_both_libraries(tmp_path: Path) -> None:
    path = tmp_path / "v.sock"
    (tmp_path / "v.conf").write_text(f'port 0\nunixsocket "{path}"\nrequirepass secret\nsave ""\ndir "{tmp_path}"\n')
    url = f"unix://:secret@{path}?db=2"
    server = Program([find_valkey(), str(tmp_path / "v.conf")], log=tmp_path / "v.log")
    server.start(path.exists)
    try:
        with make_app(url, role="test").connection_for_write() as line:
            line.default_channel.client.set("a", "b")
        with redis.Redis.from_url(url) as client:
            assert client.get("a") == b"b"
            assert client.client_info()["db"] == 2
    finally:
        server.end(15)  # type: ignore[arg-type]
