"""Three things that are measured on a farm beside the storm: feed after a flush, memory of the broker, poison."""

import json
import re
import time
from contextlib import suppress

import redis

from faults.checks import numbers_of
from faults.farm import Farm
from storage.sql import chunks
from storage.states import ChunkState
from storage.wire import keys

POLL_S = 0.05
DEATH = re.compile(r"child died .*images='?(?P<images>\[\[.*\]\])")


def is_fed(farm: Farm) -> bool:
    """Whether every worker renders a chunk and has another one waiting, with the token that lets it run."""
    with farm.database.read() as connection:
        issued = chunks.in_state(connection, ChunkState.ISSUED)
    with suppress(redis.RedisError):
        for worker in [name for name in farm.parts if name.startswith("w")]:
            beat = farm.beat(worker)
            if beat is None or beat.holding is None:
                return False
            held = (beat.holding.job, beat.holding.chunk, beat.holding.attempt)
            here = [row for row in issued if (row.node, row.boot) == (beat.node, beat.boot)]
            mine = [(row.job, row.number, row.attempt) for row in here]
            waits = [attempt for attempt in mine if attempt != held]
            if not waits or not all(farm.redis.exists(keys.token_key(*attempt)) for attempt in waits):
                return False
        return True
    return False


def feed_after_flush(farm: Farm, *, limit_s: float = 60.0) -> float:
    """Seconds from FLUSHALL to a farm whose every worker renders and has its next chunk waiting."""
    farm.wait(lambda: is_fed(farm), what="a farm in full feed", timeout_s=120)
    begun = time.monotonic()
    farm.redis.flushall()
    while not is_fed(farm):
        if time.monotonic() - begun > limit_s:
            return float("inf")
        time.sleep(POLL_S)
    return time.monotonic() - begun


def most_memory(farm: Farm, *, seconds: float) -> int:
    """The most bytes that the broker held within so many seconds."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, farm.servers.valkey.used_memory())
        time.sleep(POLL_S)
    return most


def own_faults(farm: Farm, job: str, number: int) -> int:
    """How many processes died or hung with an image in their pipeline, as their supervisors saw it."""
    found = 0
    for worker in [name for name in farm.parts if name.startswith("w")]:
        lines = farm.log(worker).read_text(errors="replace").splitlines()
        deaths = [DEATH.search(line) for line in lines if f"job={job} " in line]
        found += sum(number in numbers_of(json.loads(death["images"])) for death in deaths if death is not None)
    return found
