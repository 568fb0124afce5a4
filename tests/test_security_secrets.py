"""Passwords and keys stand in no log, command line, message, event, row or sentence, whatever goes on."""

import json
import logging
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import redis
from sqlalchemy import MetaData, create_engine, inspect

from farm_desk import FARM, Desk, descendants, wait_until
from servers.program import free_port
from storage.logs import LineFormatter
from storage.wire.celery_app import make_app

TOKEN, FLOWER, SESSION = "hf_tokentokentoken", "flower-pass-word", "session/token+1234"


@pytest.fixture
def desk(
    tmp_path: Path, broker_url: str, postgres_url: str, use_s3: Callable[[str], object]
) -> Iterator[tuple[Desk, list[str]]]:
    """A farm of real parts that all ask for secrets, at DEBUG; and the secrets."""
    bucket = use_s3("ministack")
    desk = Desk(
        tmp_path, seconds_per_step=0.05, FARM_DATABASE_URL=postgres_url, FARM_BROKER_URL=broker_url,
        FARM_UNREGISTERED_MODELS="yes", FARM_LOG_LEVEL="DEBUG", FARM_FLOWER_PASSWORD=FLOWER, HF_TOKEN=TOKEN,
        FARM_STORE_URL=bucket.url, FARM_S3_ENDPOINT=bucket.endpoint, FARM_CHUNK_S="2",  # type: ignore[attr-defined]
    )  # fmt: skip
    desk.env |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    desk.env["AWS_SESSION_TOKEN"] = SESSION
    passwords = [str(urlsplit(url).password) for url in (broker_url, postgres_url)]
    yield desk, [*passwords, desk.env["AWS_SECRET_ACCESS_KEY"], TOKEN, FLOWER, SESSION, quote(SESSION, safe="")]
    desk.close()


class Spy:
    """Sees what lies in Redis and what goes by in events, until `close`."""

    def __init__(self, url: str) -> None:
        self.seen: set[bytes] = set()
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._watch, self._listen)]
        for thread in self._threads:
            thread.start()

    def close(self) -> bytes:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=10)
        return b"\n".join(self.seen)

    def _watch(self) -> None:
        with redis.Redis.from_url(self._url) as client:
            readers: dict[bytes, Callable[[bytes], object]] = {
                b"string": client.get, b"list": lambda key: client.lrange(key, 0, -1), b"hash": client.hgetall,
                b"set": client.smembers, b"zset": lambda key: client.zrange(key, 0, -1),
            }  # fmt: skip
            while not self._over.wait(0.02):
                for key in client.scan_iter():
                    read = readers.get(client.type(key))
                    self.seen |= {key, repr(read(key) if read else None).encode()}

    def _listen(self) -> None:
        app = make_app(self._url, role="spy")
        with app.connection_for_read() as line:
            receiver = app.events.Receiver(line, handlers={"*": self._note})
            while not self._over.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.5, wakeup=False)
                except TimeoutError:
                    continue

    def _note(self, event: dict[str, object]) -> None:
        self.seen.add(json.dumps(event, default=str).encode())


def start(desk: Desk, name: str, *command: str) -> int:
    """Start a program whose output goes to NAME.out, however much of it there is."""
    return desk.start("sh", "-c", f"exec {shlex.join(command)} > {shlex.quote(str(desk.folder / name))}.out 2>&1").pid


def command_lines(pids: list[int]) -> str:
    lines = ""
    for pid in [each for first in pids for each in [first, *descendants(first)]]:
        try:
            lines += Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() + "\n"
        except OSError:
            continue
    return lines


def everything_in_sql(url: str) -> str:
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        rows = [repr(tuple(row)) for table in tables.sorted_tables for row in connection.execute(table.select())]
    assert {"job", "chunk", "image"} <= set(inspect(engine).get_table_names())
    engine.dispose()
    return "\n".join(rows)


def found(secrets: list[str], text: str) -> list[str]:
    return [text[max(0, place - 120) : place + 60] for secret in secrets if (place := text.find(secret)) >= 0]


def test_a_farm_at_work_keeps_its_secrets(desk: tuple[Desk, list[str]]) -> None:
    farm, secrets = desk
    port = free_port()
    spy = Spy(farm.env["FARM_BROKER_URL"])
    pids = [
        start(farm, "dispatcher", *FARM, "dispatcher"),
        start(farm, "worker", sys.executable, "-m", "worker.cli", "start", "--devices", "cpu"),
        start(farm, "flower", *FARM, "flower", "--port", str(port)),
    ]
    submitted = farm.farm("submit", str(farm.write_job()))
    assert submitted.returncode == 0, submitted.stderr

    lines = ""

    def is_done() -> bool:
        nonlocal lines
        lines += command_lines(pids)
        return len(farm.images()) == 48

    wait_until(is_done, what="48 images")
    told = [submitted.stdout + submitted.stderr]
    for words in (["doctor"], ["show"], ["ls"], ["doctor", "--json"], ["images"]):
        ended = farm.farm(*words)
        told.append(ended.stdout + ended.stderr)
    logs = "".join(
        (farm.folder / f"{name}.out").read_text(errors="replace") for name in ("dispatcher", "worker", "flower")
    )

    assert "DEBUG" in logs
    assert "-m worker.node" in lines
    for place, text in {
        "logs": logs, "command lines": lines, "messages and events": spy.close().decode(errors="replace"),
        "SQL": everything_in_sql(farm.env["FARM_DATABASE_URL"]), "answers": "\n".join(told),
    }.items():  # fmt: skip
        assert found(secrets, text) == [], place


WRONG = {
    "a wrong password of the broker": ("FARM_BROKER_URL", "redis://:wr0ng-pass@127.0.0.1:{port}/0"),
    "a wrong user of the broker": ("FARM_BROKER_URL", "redis://someone:wr0ng-pass@127.0.0.1:{port}/0"),
    "a broker that is away": ("FARM_BROKER_URL", "redis://:wr0ng-pass@127.0.0.1:1/0"),
    "a broker that nobody knows": ("FARM_BROKER_URL", "redis://:wr0ng-pass@broker.invalid:6379/0"),
    "a broker of another protocol": ("FARM_BROKER_URL", "rediss://:wr0ng-pass@127.0.0.1:{port}/0"),
    "a broker's URL of another shape": ("FARM_BROKER_URL", "redis://:wr0ng-pass@127.0.0.1:port/0"),
    "a password with a slash": ("FARM_BROKER_URL", "redis://:a/wr0ng-pass@127.0.0.1:6379/0"),
    "a database that is away": ("FARM_DATABASE_URL", "postgresql+psycopg://u:wr0ng-pass@127.0.0.1:1/db"),
    "a database that nobody knows": ("FARM_DATABASE_URL", "postgresql+psycopg://u:wr0ng-pass@db.invalid/db"),
    "a database of another kind": ("FARM_DATABASE_URL", "mysql://u:wr0ng-pass@127.0.0.1/db"),
    "a database's URL of another shape": ("FARM_DATABASE_URL", "postgresql+psycopg://u:wr0ng-pass@h:port/db"),
    "a store with a password": ("FARM_STORE_URL", "s3://key:wr0ng-pass@bucket/x"),
    "an S3 server that is away": ("FARM_S3_ENDPOINT", "http://key:wr0ng-pass@127.0.0.1:1"),
    "a setting that nobody knows": ("FARM_BROKER", "redis://:wr0ng-pass@127.0.0.1"),
}


@pytest.mark.parametrize(("name", "value"), WRONG.values(), ids=WRONG)
def test_no_complaint_about_a_wrong_address_shows_its_password(
    tmp_path: Path, broker_url: str, name: str, value: str
) -> None:
    desk = Desk(tmp_path)
    desk.env[name] = value.format(port=urlsplit(broker_url).port)
    if name == "FARM_S3_ENDPOINT":
        desk.env |= {"FARM_STORE_URL": "s3://bucket", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "wr0ng-pass"}

    for words in (["doctor"], ["submit", str(desk.write_job())]):
        ended = desk.farm(*words)
        assert "wr0ng-pass" not in ended.stdout + ended.stderr, words
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("at redis://:pw12@h:1/0", "at redis://:***@h:1/0"),
        ("GET https://h/x?X-Amz-Signature=abc&y=1", "GET https://h/x?X-Amz-Signature=***&y=1"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': '***'}"),
        ("Authorization: Basic abc", "Authorization: ***"),
        ("x-amz-security-token:abc", "x-amz-security-token:***"),
        ("the secret is s3cret+1.", "the secret is ***."),
        ("nothing of that kind", "nothing of that kind"),
    ],
)
def test_a_log_line_is_blotted_whoever_wrote_it(said: str, shown: str) -> None:
    record = logging.makeLogRecord({"msg": said, "name": "library", "levelname": "DEBUG"})

    assert LineFormatter(secrets=["s3cret+1"]).format(record).endswith(f" library {shown}")


def test_a_secret_in_a_traceback_or_a_field_is_blotted_too() -> None:
    try:
        raise ValueError("no s3cret+1 here")
    except ValueError:
        record = logging.makeLogRecord(
            {"msg": "x", "exc_info": sys.exc_info(), "url": "http://u:pw12@h", "key": "s3cret+1"}
        )

    text = LineFormatter(secrets=["s3cret+1"]).format(record)

    assert "ValueError: no *** here" in text
    assert "url=http://u:***@h key=***" in text
