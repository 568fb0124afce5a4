"""Replay jobs, from submission to their removal: on the farm that runs here, or on an embedded one for as long."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

from dispatcher.embedded.host import EmbeddedFarm
from dispatcher.farm import Farm
from dispatcher.keeping.collecting.garbage import collect_removed
from dispatcher.keeping.collecting.removal import remove
from dispatcher.planning.terms import Terms
from dispatcher.replaying.grading import Anew
from dispatcher.replaying.originals import Original
from dispatcher.replaying.wanting import Replay
from dispatcher.service.broker import Broker
from dispatcher.submission import submit
from dispatcher.views.progress import Progress, read_progress
from storage.errors import UserError
from storage.spec.canonical import digest
from storage.spec.named_code import code_in, with_code
from storage.spec.number import place_of
from storage.sql import images, jobs
from storage.sql.images import ImageRow
from storage.sql.jobs import JobRow
from storage.states import Priority, Wish
from storage.wire.messages import Heartbeat

POLL_S: Final = 0.25
DEVICE_PATIENCE_S: Final = 30.0  # for a worker with the plan's kind of device, once any worker is there
CHUNK_S: Final = 5.0
WAIT_S: Final = 5.0  # that nothing moves before it is said why

Outcome = Anew | str  # str: why a picture could not be rendered again
Say = Callable[[int, int], None]  # hears how many images of how many have ended


@dataclass(frozen=True, kw_only=True)
class Means:
    """With what replays are rendered."""

    devices: str = "all"
    source: str = "verify"  # the words after ./farm
    keep: bool = False  # leave the jobs where they are
    say: Say | None = None
    tell: Callable[[str], None] | None = None  # hears what it waits for, each reason once
    device_patience_s: float = DEVICE_PATIENCE_S
    wait_s: float = WAIT_S


@dataclass
class _Running:
    """One replay job on its way."""

    replay: Replay
    id: str
    given_up: str | None = None  # why it was cancelled
    lacks_since: float | None = None  # the monotonic clock
    waits_for: str = ""
    waits_since: float = 0.0  # the monotonic clock


class Replayer:
    """Renders replays to their end."""

    def __init__(self, farm: Farm, means: Means) -> None:
        self._farm = farm
        self._means = means
        self._told: set[str] = set()

    def run(self, replays: Sequence[Replay]) -> dict[str, Outcome]:
        """Render, and remove the jobs again. Returns what came of each original, by its name.

        Raises:
            PartFailed: The embedded farm does not come up.
            StoreAway, DatabaseAway: Some jobs may be left; they are called after the replayed one.
        """
        running: list[_Running] = []
        try:
            with _terminable():
                for replay in replays:
                    self._submit(replay, running)
                self._follow(running)
                return {name: outcome for one in running for name, outcome in self._outcomes(one)}
        finally:
            self._clear(running)

    def _submit(self, replay: Replay, running: list[_Running]) -> None:
        """Queue a job and note it at once, so that it is removed whatever comes next."""
        farm = self._farm
        row = submit(
            replay.spec, settings=farm.settings, database=farm.database, store=farm.store, source=self._means.source,
            new=True, terms=Terms(priority=Priority.BACKGROUND),
        ).row  # fmt: skip
        running.append(_Running(replay, row.id))
        with farm.database.write() as connection:
            for size in sorted(replay.sizes):
                jobs.freeze_plan(connection, row.id, size, replay.plan)  # so that only its kind of device is asked

    def _follow(self, running: Sequence[_Running]) -> None:
        if not running:
            return
        settings = self._farm.settings.model_copy(
            update={"chunk_s": min(self._farm.settings.chunk_s, CHUNK_S)}
        )  # fmt: skip
        with EmbeddedFarm(settings, devices=self._means.devices) as embedded:
            broker = Broker(embedded.broker_url)
            while not self._look(running, broker):
                embedded.tend()
                time.sleep(POLL_S)

    def _look(self, running: Sequence[_Running], broker: Broker) -> bool:
        """Whether all have ended; those that cannot go on are cancelled."""
        ended, is_over = 0, True
        for one in running:
            progress = read_progress(self._farm.database, broker, one.id)
            row = progress.row
            ended += progress.ended if row.is_open else row.images
            is_over = is_over and not row.is_open
            if not row.is_open or one.given_up is not None:
                continue
            one.given_up = self._hopeless(one, progress)
            self._tell(one, progress.waits_for)
            if one.given_up is not None:
                with self._farm.database.write() as connection:
                    jobs.wish(connection, one.id, Wish.CANCEL)
        if self._means.say is not None:
            self._means.say(ended, sum(len(one.replay.originals) for one in running))
        return is_over

    def _tell(self, one: _Running, waits_for: str) -> None:
        """Say what a job waits for once it has waited for a while: a farm without workers may never have one."""
        now = time.monotonic()
        if waits_for != one.waits_for:
            one.waits_for, one.waits_since = waits_for, now
        is_long = now - one.waits_since >= self._means.wait_s
        if self._means.tell is not None and waits_for and is_long and waits_for not in self._told:
            self._told.add(waits_for)
            self._means.tell(waits_for)

    def _hopeless(self, one: _Running, progress: Progress) -> str | None:
        """Why no image of a job can be what is wanted, or none will be made."""
        row = progress.row
        if progress.is_over:
            return row.reason or f"the replay is {row.state}"
        if row.models is not None:
            return other_bytes(one.replay, _digests(row))
        wanted, now = one.replay.plan.device_type, time.monotonic()
        if not lacks_device(wanted, progress.workers):
            one.lacks_since = None
            return None
        one.lacks_since = now if one.lacks_since is None else one.lacks_since
        patient = now - one.lacks_since < self._means.device_patience_s
        return None if patient else f"no worker with the plan's kind of device ({wanted}) is here"

    def _outcomes(self, one: _Running) -> Iterator[tuple[str, Outcome]]:
        with self._farm.database.read() as connection:
            row = jobs.get(connection, one.id)
            made = {place_of(image.number): image for image in images.of_job(connection, one.id)}
        for number, original in enumerate(one.replay.originals):
            yield original.name, self._outcome(one, row, original, made.get(number))

    def _outcome(self, one: _Running, row: JobRow, original: Original, image: ImageRow | None) -> Outcome:
        if image is None or image.key is None:
            said = None if image is None else f"{image.reason}: {image.detail}"
            return said or one.given_up or row.reason or f"the replay is {row.state}"
        if image.recipe_hash != digest(with_code(original.recipe, _digests(row))):
            return one.given_up or "its models lead to another recipe now"
        return Anew(
            picture=self._farm.store.get(image.key), pixel_sha256=image.pixel_sha256, plan=image.plan,
            environment=image.environment,
        )  # fmt: skip

    def _clear(self, running: Sequence[_Running]) -> None:
        """Forget the jobs with their objects; what is still open is dropped by the dispatcher."""
        for one in running if not self._means.keep else ():
            with self._farm.database.read() as connection:
                row = jobs.get(connection, one.id)
            try:
                remove(self._farm.database, self._farm.store, row)
            except UserError:
                with self._farm.database.write() as connection:
                    jobs.wish(connection, one.id, Wish.DROP)
            else:
                collect_removed(self._farm.database, self._farm.store, one.id)


@contextmanager
def _terminable() -> Iterator[None]:
    """End as by Ctrl-C when told to end, so that an embedded farm's parts end too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def lacks_device(wanted: str, workers: Sequence[Heartbeat]) -> bool:
    """Whether there are workers, and none with that kind of device."""
    return bool(workers) and all(worker.device_type != wanted for worker in workers)


def other_bytes(replay: Replay, found: Mapping[str, str]) -> str | None:
    """Which model of a replay has another digest than recorded; None if all are what they were."""
    wanted = {key: model.digest for key, model in replay.models.items()}
    for original in replay.originals:
        wanted |= code_in(original.recipe)
    for key, digest_then in wanted.items():
        if key in found and found[key] != digest_then:
            return f"model {key} is {found[key][:19]}… now, and the picture was made with {digest_then[:19]}…"
    return None


def _digests(row: JobRow) -> dict[str, str]:
    return {key: facts.digest for key, facts in (row.models or {}).items()}
