"""The one Celery task of a worker, and the start and end of the process that runs it.

Loaded by the Celery parent too, which has to know the task's name, so nothing here imports torch before a child
starts. Node and boot come by two variables of our own; all settings come from FARM_*, as everywhere.
"""

import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery, current_app, shared_task
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from pydantic import ValidationError

from storage import logs
from storage.blobs import BlobStore, open_store
from storage.settings import Settings, load_settings
from storage.spec_store import SpecStore
from storage.wire import keys
from storage.wire.celery_app import RENDER
from storage.wire.messages import ChunkMessage
from worker.child.level import Level
from worker.child.life import DEVICE_BROKEN, LifeFile, life_path
from worker.child.link import Identity, Link
from worker.faults import DEVICE_ERROR, classify
from worker.renderer import Renderer, make_renderer
from worker.runs.inputs import Inputs
from worker.runs.run import Run
from worker.runs.storing.spool import Disk, Spool
from worker.runs.storing.uploads import Uploads
from worker.runs.tools import Tools
from worker.scoring import Scorers

log = logging.getLogger(__name__)

NODE_VARIABLE: Final = "SEEDFARM_NODE"
BOOT_VARIABLE: Final = "SEEDFARM_BOOT"
THREADS_VARIABLE: Final = "OMP_NUM_THREADS"
STOP_SIGNAL: Final = signal.SIGUSR2  # not SIGTERM: Celery's pool ends children with that one
DEVICE_LOST: Final = 70  # exit code
_BROKEN_START_S: Final = 5  # between two tries of a child that cannot start


@dataclass(frozen=True, slots=True)
class Child:
    """The life of this process."""

    tools: Tools
    link: Link


class _Here:
    child: Child | None = None


def start_child(app: Celery) -> Child:
    """Take the device, and beat. Imports torch, so it may take ten seconds; before that the life file knows of it."""
    settings = load_settings()
    node, boot, child = os.environ[NODE_VARIABLE], os.environ[BOOT_VARIABLE], keys.new_id()
    level = Level(LifeFile(life_path(settings.home, node)), scale=settings.time_scale)
    level.ended = level.life.take_over(child, boot=boot)
    store = open_store(settings.store_address, endpoint=settings.s3_endpoint, region=settings.s3_region)
    renderer = _take_device(settings, store, level)
    signal.signal(STOP_SIGNAL, lambda *_: level.stopping.set())  # not before: until here it may end us
    identity = Identity(
        node=node, boot=boot, child=child, device_type=renderer.device.type, device=renderer.device.name,
        threads=int(os.environ.get(THREADS_VARIABLE, "1")), memory_bytes=renderer.device.memory_bytes,
        renderer=renderer.name,
    )  # fmt: skip
    link = Link(app, _broker(settings), level=level, identity=identity, beat_s=settings.beat_s)
    disk = Disk(settings.home / "spool" / node, cap=settings.spool_bytes)
    spool = Spool(disk, store, level=level, scale=settings.time_scale)
    spool.resume()  # before the first beat, which names what lies there
    link.start()
    spool.start(link.send_record)
    ended = {} if level.ended is None else {"earlier": level.ended.cause, **level.ended.model_dump(exclude={"cause"})}
    log.info("child ready", extra={"node": node, "boot": boot, "child": child, "device": identity.device, **ended})
    uploads = Uploads(settings.upload_threads)
    inputs = Inputs(store, max_pixels=settings.input_pixels)
    tools = Tools(
        renderer=renderer, scorers=Scorers(settings, store), store=store, specs=SpecStore(store), uploads=uploads,
        inputs=inputs, spool=spool,
        level=level, node=node, boot=boot, time_scale=settings.time_scale,
        watermarks=settings.watermark_names,
    )  # fmt: skip
    return Child(tools, link)


def _take_device(settings: Settings, store: BlobStore, level: Level) -> Renderer:
    """Make the renderer. A device that refuses even that counts as one that broke under a chunk."""
    try:
        return make_renderer(settings, store)
    except Exception as error:
        if classify(error)[0] == DEVICE_ERROR:
            level.life.set_verdict(DEVICE_BROKEN)
        raise


def render(task: Any, *, message: Any) -> None:
    """Do one chunk. Whatever comes of it stands in its manifest; nothing is raised."""
    child = _Here.child
    if child is None:
        log.error("task without a child")
        return
    try:
        read = ChunkMessage.model_validate_json if isinstance(message, str) else ChunkMessage.model_validate
        chunk = read(message)
    except ValidationError as error:
        log.error("message refused", extra={"reason": error})
        return
    names = {"job": chunk.job, "chunk": chunk.chunk, "attempt": chunk.attempt}
    if not child.link.take_token(chunk.job, chunk.chunk, chunk.attempt):
        log.info("chunk dropped", extra=names)
        return
    log.info("chunk taken", extra={**names, "kind": chunk.kind})
    run = Run(chunk, child.tools, task_id=task.request.id)
    try:
        manifest = run.execute()
    except Exception:
        log.exception("run broken", extra=names)  # no manifest: the farm will offer the chunk again
        return
    if manifest is not None:
        child.link.send_record(manifest)
    if run.device_lost:
        log.error("device lost, starting afresh", extra=names)
        child.tools.level.life.set_verdict(DEVICE_BROKEN)
        child.link.close()
        os._exit(DEVICE_LOST)


RENDER_TASK = shared_task(bind=True, name=RENDER)(render)


def _on_start(**_: Any) -> None:
    try:
        _Here.child = start_child(current_app._get_current_object())
    except Exception as error:
        log.exception("child cannot start", extra={"reason": error})
        time.sleep(_BROKEN_START_S * load_settings().time_scale)  # Celery replaces a dead child at once, for ever
        raise


def _on_end(**_: Any) -> None:
    if _Here.child is not None:
        _Here.child.link.close()


def _on_logging(**_: Any) -> None:
    logs.configure(load_settings().log_level)  # that somebody listens keeps Celery from setting up logs of its own


worker_process_init.connect(_on_start)
worker_process_shutdown.connect(_on_end)
setup_logging.connect(_on_logging)


def _broker(settings: Settings) -> str:
    if settings.broker_url is None:  # the node checked it before it started us
        raise RuntimeError("no broker URL")
    return settings.broker_url.get_secret_value()
