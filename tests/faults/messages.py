"""What is done to the broker's memory: messages lost, doubled and sent to the dead, forged manifests, a step back."""

import json
import time
from collections.abc import Iterator

import redis

from faults.farm import Farm, node
from storage.wire import keys
from storage.wire.celery_app import RECORD, make_app

STEPS = ("", "\x06\x163", "\x06\x166", "\x06\x169")  # kombu's lists of one queue, by priority


def queues(farm: Farm, worker: str, *, boot: str | None = None) -> Iterator[str]:
    """The lists of the queue of a worker's present boot."""
    beat = farm.beat(worker)
    boot = boot or (beat.boot if beat else None)
    if boot is not None:
        for step in STEPS:
            yield keys.worker_queue(node(worker), boot) + step


def waiting(farm: Farm, worker: str) -> int:
    """Messages that lie in Redis for a worker."""
    try:
        return sum(int(farm.redis.llen(name)) for name in queues(farm, worker))
    except redis.RedisError:
        return 0


def lose(farm: Farm, worker: str) -> bool:
    """Take a waiting message away, as the pop window does: Redis has it no more, the worker never got it."""
    return any(farm.redis.lpop(name) is not None for name in list(queues(farm, worker)))


def double(farm: Farm, worker: str) -> bool:
    """Put a second copy of every waiting message behind it."""
    found = False
    for name in list(queues(farm, worker)):
        for raw in farm.redis.lrange(name, 0, -1):
            farm.redis.lpush(name, raw)
            found = True
    return found


def deliver_to_another(farm: Farm, giver: str, taker: str) -> bool:
    """Put a copy of a message for one worker into the queue of another."""
    target = next(queues(farm, taker), None)
    for name in list(queues(farm, giver)):
        for raw in farm.redis.lrange(name, 0, 0) if target else []:
            farm.redis.lpush(str(target), raw)
            return True
    return False


def spend_tokens(farm: Farm) -> int:
    """Delete every token: whoever gets a message now finds none."""
    found = list(farm.redis.scan_iter(match=keys.REDIS_PREFIX + "token:*"))
    return int(farm.redis.delete(*found)) if found else 0


def forge(farm: Farm, *, job: str, chunk: int, attempt: int) -> str:
    """Store a manifest that claims another run's picture, and tell the dispatcher of it. Returns its key."""
    prefix = keys.run_prefix(job, chunk, attempt, keys.new_id())
    stolen = f"jobs/{job}/spec.json"
    made = {
        "number": 0, "key": stolen, "sha256": "0" * 64, "pixel_sha256": "0" * 64, "bytes": 1, "width": 32,
        "height": 32, "recipe_hash": "0" * 64,
    }  # fmt: skip
    manifest = {
        "manifest_schema": 1, "job": job, "chunk": chunk, "attempt": attempt, "run": prefix[:-1].rpartition("-")[2],
        "node": "forger-cpu", "boot": "x", "spec_hash": farm.job(job).spec_hash, "plan": None, "environment": {},
        "models": {}, "images": [made], "started": time.time(), "finished": time.time(), "seconds": {},
    }  # fmt: skip
    key = keys.manifest_key(prefix)
    farm.store.put(key, json.dumps(manifest).encode())
    announce(farm, key)
    return key


def announce(farm: Farm, key: str) -> None:
    """Send the message `record`, as a worker does."""
    app = make_app(farm.broker_url, role="worker")
    app.send_task(RECORD, kwargs={"manifest": key}, queue=keys.RECORD_QUEUE, retry=False)
    app.close()
