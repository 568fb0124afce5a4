"""The queue `record`: a Celery worker inside the dispatcher, one thread, so that Flower shows it like any other.

It is only the quick way. A message that is lost costs seconds: the reconciler finds the manifest.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.worker import WorkController
from celery.worker import state as worker_state
from kombu import Exchange, Queue

from dispatcher.service.recording.recorder import Recorder
from storage.errors import FarmError, TransientError
from storage.wire.celery_app import RECORD, make_app
from storage.wire.keys import RECORD_QUEUE

log = logging.getLogger(__name__)
_AGAIN_S = 1.0


class RecordConsumer:
    """Runs `Recorder.record` for every message, and says so by `on_record`."""

    def __init__(self, broker_url: str, recorder: Recorder, *, on_record: Callable[[], None]) -> None:
        app = make_app(broker_url, role="dispatcher")
        app.conf.update(
            task_acks_late=False,  # a failed record is the reconciler's, not the queue's
            task_queues=[Queue(RECORD_QUEUE, exchange=Exchange(""), routing_key=RECORD_QUEUE)],
            task_default_queue=RECORD_QUEUE,
        )

        @app.task(name=RECORD)  # type: ignore[untyped-decorator, unused-ignore]
        def record(manifest: str) -> None:
            _record(recorder, manifest)
            on_record()

        app.finalize()
        self._app = app
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to consume, in a thread of its own."""
        worker_state.should_stop = None
        self._thread = threading.Thread(target=self._serve, name="records", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the message in hand and end the thread."""
        self._stopping.set()
        worker_state.should_stop = 0
        if self._thread is not None:
            self._thread.join(timeout=10)
        worker_state.should_stop = None

    def _serve(self) -> None:
        """Consume; begin again where something in the queue that is no message of Celery's ended it."""
        while not self._stopping.is_set():
            worker: Any = WorkController(
                app=self._app, hostname=_hostname(), pool="solo", concurrency=1, loglevel=logging.WARNING,
                without_mingle=True, without_gossip=True, queues=[RECORD_QUEUE],
            )  # fmt: skip
            worker.start()
            if not self._stopping.wait(_AGAIN_S):
                log.warning("records start again")


def _record(recorder: Recorder, manifest: str) -> None:
    try:
        recorder.record(manifest)
    except TransientError as error:
        log.info("record put off", extra={"manifest": manifest, "why": str(error)})
    except FarmError as error:
        log.warning("manifest refused", extra={"manifest": manifest, "why": str(error)})


def _hostname() -> str:
    from celery.utils.nodenames import default_nodename

    return str(default_nodename("dispatcher"))
