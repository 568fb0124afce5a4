"""Each test server answers, hands out clean places, and does not vanish silently when it is missing."""

from collections.abc import Callable

import psycopg
import pytest
import redis

from servers.fixtures import S3_PARTS
from servers.missing import missing
from servers.postgres import PostgresServer
from servers.s3 import S3Bucket
from servers.valkey import ValkeyServer


def test_the_broker_hands_out_an_empty_database(valkey: ValkeyServer, broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")

    assert broker_url != valkey.url


def test_the_broker_keeps_its_memory_over_a_kill(valkey: ValkeyServer, broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        client.set("kept", "1")

    valkey.restart()

    with redis.Redis.from_url(broker_url) as client:
        assert client.get("kept") == b"1"


def test_the_broker_can_lose_its_memory(valkey: ValkeyServer, broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        client.set("lost", "1")

    valkey.restart(keep=False)

    with redis.Redis.from_url(broker_url) as client:
        assert client.get("lost") is None


def test_a_killed_broker_does_not_answer(valkey: ValkeyServer, broker_url: str) -> None:
    valkey.kill()

    with redis.Redis.from_url(broker_url, retry=None) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_a_killed_broker_is_back_for_the_next_test(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        assert client.ping()


def test_postgres_hands_out_a_database_for_each_test(postgres: PostgresServer, postgres_url: str) -> None:
    other = postgres.create_database()

    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    connection.close()
    postgres.drop_database(other)

    assert tables == (0,)
    assert not postgres_url.endswith(other)


@pytest.mark.parametrize("part", S3_PARTS)
def test_an_s3_server_hands_out_an_empty_bucket(part: str, use_s3: Callable[[str], S3Bucket]) -> None:
    bucket = use_s3(part)

    listing = bucket.server.client.list_objects_v2(Bucket=bucket.name)

    assert listing["KeyCount"] == 0


@pytest.mark.parametrize(
    ("strict", "outcome"),
    [
        pytest.param("", pytest.skip.Exception, id="skips"),
        pytest.param("1", pytest.fail.Exception, id="fails when strict"),
    ],
)
def test_a_missing_server_is_named(strict: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDFARM_STRICT", strict)

    with pytest.raises(outcome, match="gopherd is missing: not installed"):
        missing("gopherd", "not installed")
