"""The servers as fixtures: started once per session, handed out clean to each test.

    broker_url     an empty Redis database                      valkey    the server, for tests that kill it
    postgres_url   an empty PostgreSQL database                 postgres  its server
    s3_bucket      an empty bucket, on each S3 server in turn   use_s3    the same on a server named by the test

While a test holds a bucket, the AWS_* variables lead to its server.
"""

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from servers.ministack import install_ministack, start_ministack
from servers.missing import missing
from servers.postgres import PostgresServer, find_postgres
from servers.program import ServerError
from servers.s3 import S3Bucket, S3Server
from servers.swift import start_swift
from servers.valkey import DATABASES, ValkeyServer, find_valkey

# Fixtures that yield an S3Server. Whether there is a further one is known before any test is collected.
S3_PARTS = ["ministack", "swift", *(["further_s3"] if "SEEDFARM_TEST_S3" in os.environ else [])]

_numbers = itertools.cycle(range(1, DATABASES))  # 0 is `valkey.url`


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Return a folder outside pytest's own, which other users (PostgreSQL's) may not enter."""
    folder = Path(tempfile.mkdtemp(prefix="seedfarm-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey(server_folder: Path) -> Iterator[ValkeyServer]:
    with _or_missing("valkey"):
        server = ValkeyServer(find_valkey(), _new(server_folder / "valkey"))
        server.start()
    yield server
    server.kill()


@pytest.fixture
def broker_url(valkey: ValkeyServer) -> str:
    if not valkey.running:  # an earlier test killed it
        valkey.start()
    url = valkey.database(next(_numbers))
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[PostgresServer]:
    with _or_missing("postgres"):
        server = PostgresServer(find_postgres(), _new(server_folder / "postgres"))
        server.start()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    database = postgres.create_database()
    yield postgres.url(database)
    postgres.drop_database(database)


@pytest.fixture(scope="session")
def ministack(server_folder: Path) -> Iterator[S3Server]:
    with _or_missing("ministack"):
        program, server = start_ministack(install_ministack(), _new(server_folder / "ministack"))
    yield server
    program.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def swift(server_folder: Path) -> Iterator[S3Server]:
    with _or_missing("swift"):
        program, server = start_swift(_new(server_folder / "swift"))
    yield server
    program.end(signal.SIGKILL)


@pytest.fixture(scope="session")
def further_s3() -> S3Server:
    try:
        keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    except KeyError as error:
        missing("the server of SEEDFARM_TEST_S3", f"{error.args[0]} is not set")
    return S3Server("further", os.environ["SEEDFARM_TEST_S3"], *keys, os.environ.get("AWS_REGION", "us-east-1"))


@pytest.fixture
def use_s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], S3Bucket]]:
    """Return a function from one of `S3_PARTS` to an empty bucket there."""
    buckets: list[S3Bucket] = []

    def use(part: str) -> S3Bucket:
        server: S3Server = request.getfixturevalue(part)
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        buckets.append(server.create_bucket())
        return buckets[-1]

    yield use
    for bucket in buckets:
        if bucket.server.name == "further":  # the others go with the session
            bucket.remove()


@pytest.fixture(params=S3_PARTS)
def s3_bucket(request: pytest.FixtureRequest, use_s3: Callable[[str], S3Bucket]) -> S3Bucket:
    return use_s3(request.param)


@contextmanager
def _or_missing(part: str) -> Iterator[None]:
    try:
        yield
    except (ServerError, OSError) as error:
        missing(part, str(error))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder
