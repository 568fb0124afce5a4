"""One Celery node: the parent that talks to the broker for one device, and never touches the device itself.

    python -m worker.node --node HOST-gpu0 [--lifeline FD]

Started by the supervisor, which sets the environment that pins the device. When the other end of the lifeline (a
pipe) closes, the supervisor is dead, and the node ends as if it had been told to.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any, Final

import redis
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning
from celery.signals import worker_shutting_down
from kombu import Exchange, Queue

from storage import logs
from storage.errors import FarmError, InvalidSetting
from storage.settings import Settings, load_settings
from storage.wire import keys
from storage.wire.celery_app import make_app
from storage.wire.messages import Heartbeat
from worker.child.life import LifeFile, life_path
from worker.child.link import celery_name, connect
from worker.child.tasks import BOOT_VARIABLE, NODE_VARIABLE, STOP_SIGNAL

log = logging.getLogger("worker.node")  # not "__main__"

NAME_TAKEN: Final = 3  # exit code
STOP_LIMIT_S: Final = 15.0
QUEUE_TTL_S: Final = 600  # an idle queue of a dead boot goes away by itself
_SHORTEST_STOP_S: Final = 3.0
_WATCH_S: Final = 3.2
_LOOK_S: Final = 0.2
_AWAY_S: Final = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node until it is told to end; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.node")
    parser.add_argument("--node", required=True)
    parser.add_argument("--lifeline", type=int)
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        broker_url = need_broker(settings)
    except FarmError as error:
        sys.stderr.write(f"farm-worker: {error}\n")
        return 2
    logs.configure(settings.log_level)
    logging.getLogger("celery.worker.request").addFilter(_one_line)
    if options.lifeline is not None:
        limit_s = stop_limit_s(settings.time_scale)
        threading.Thread(target=_hold, args=(options.lifeline, limit_s), name="lifeline", daemon=True).start()
    if has_rival(broker_url, options.node, watch_s=max(_WATCH_S * settings.time_scale, 3.2 * settings.beat_s)):
        log.error("a live worker has this name; choose another with --name", extra={"node": options.node})
        return NAME_TAKEN
    LifeFile(life_path(settings.home, options.node)).note_parent()
    return _serve(broker_url, options.node)


def stop_limit_s(scale: float) -> float:
    """Seconds that a node gets to write its manifest and end."""
    return max(_SHORTEST_STOP_S, STOP_LIMIT_S * scale)


def need_broker(settings: Settings) -> str:
    """The broker's URL. Raises InvalidSetting: there is none."""
    if settings.broker_url is None:
        raise InvalidSetting("FARM_BROKER_URL", "", "must be set for a worker, for example to redis://farm-host:6379/0")
    return settings.broker_url.get_secret_value()


def has_rival(broker_url: str, node: str, *, watch_s: float) -> bool:
    """Whether another life of `node` beats now. A key that a killed one left behind does not grow.

    Where the broker lost its memory a moment ago a rival may be overlooked; the links of the two find each other then.
    """
    with connect(broker_url) as client:
        first = _look(client, node)
        deadline = time.monotonic() + watch_s
        while first is not None and time.monotonic() < deadline:
            time.sleep(min(_LOOK_S, watch_s / 8))
            now = _look(client, node)
            if now != first:
                return now is not None
    return False


def _look(client: redis.Redis, node: str) -> tuple[str, str, int] | None:
    """The beat that stands in Redis; waits for a broker that is away."""
    while True:
        try:
            raw = client.get(keys.worker_key(node))
            break
        except (redis.RedisError, OSError) as error:
            log.warning("broker away, waiting for it", extra={"reason": error})
            time.sleep(_AWAY_S)
    try:
        beat = Heartbeat.model_validate_json(raw) if isinstance(raw, bytes) else None
    except ValueError:
        return None  # of another version, or no heartbeat at all
    return (beat.boot, beat.child, beat.beat) if beat else None


def _serve(broker_url: str, node: str) -> int:
    warnings.simplefilter("ignore", SecurityWarning)  # of root, for the sake of pickles, which we refuse
    warnings.simplefilter("ignore", CPendingDeprecationWarning)  # of a setting that we chose, at every lost connection
    boot = keys.new_id()
    os.environ[NODE_VARIABLE], os.environ[BOOT_VARIABLE] = node, boot
    queue = keys.worker_queue(node, boot)
    app = make_app(broker_url, role="worker")
    app.conf.update(
        imports=("worker.child.tasks",),
        # The nameless exchange needs no table of bindings, which a Redis that lost its memory would lack.
        task_queues=[Queue(queue, Exchange(""), routing_key=queue, expires=QUEUE_TTL_S)],
    )
    worker = app.Worker(
        hostname=celery_name(node), queues=[queue], loglevel="WARNING", quiet=True, optimization="fair",
        without_mingle=True, without_gossip=True,
    )  # fmt: skip

    worker_shutting_down.connect(lambda **_: _stop_children(worker.pool), weak=False)
    log.info("node starts", extra={"node": node, "boot": boot, "queue": queue})
    worker.start()
    log.info("node ends", extra={"node": node, "boot": boot})
    return int(worker.exitcode or 0)


def _stop_children(pool: Any) -> None:
    """Tell the child to stop at its next step. One that still imports torch has nothing to lose, and is slow to end."""
    processes: Any = getattr(pool, "_pool", None)  # billiard's; None before the pool has started
    for child in list(processes._pool) if processes else []:
        starting = child.inqW_fd not in processes._fileno_to_inq  # it has not yet said that it is up
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL if starting else STOP_SIGNAL)
        if starting:
            log.info("ended before the child was ready")
            os._exit(0)


def _one_line(record: logging.LogRecord) -> bool:
    """A dead child is an event and no bug of ours: its traceback shows Celery's insides only."""
    record.exc_info = record.exc_text = None
    return True


def _hold(lifeline: int, limit_s: float) -> None:
    """Wait for the supervisor's death, then end in order, and at last by force."""
    while os.read(lifeline, 1):
        pass
    log.warning("the supervisor is gone, ending")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(limit_s)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
