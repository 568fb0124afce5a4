"""Judging complete jobs: verdicts into rows, next takes into chunks, then the job is done.

A job may have a million images, so they are read in pages and judged outside of any transaction; verdicts are written
in batches, each behind the leader's fence and only while the job is as it was read. What is written is a function of
the job's images: whoever begins again after a crash, or after a user changed the job meanwhile, writes the same, or
what is right by then. `job.judged` is written last, with the state.
"""

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from dispatcher.quality.cells import Cells, Outcome
from dispatcher.quality.successors import add_takes
from dispatcher.quality.verdicts import Facts, verdicts
from dispatcher.service.steps import finish_if_complete
from storage.errors import FarmError, PermanentError, TransientError
from storage.spec import Job
from storage.spec.number import place_of, take_of
from storage.spec.quality import Rules
from storage.spec_store import SpecStore
from storage.sql import Database, events, jobs, quality
from storage.sql.jobs import UNWANTED, JobRow
from storage.sql.quality import Judgeable
from storage.states import ImageState

log = logging.getLogger(__name__)
PAGE: Final = 2000  # images that are read at a time
BATCH: Final = 1000  # verdicts of one transaction
ROUND: Final = 10_000  # takes that a round adds: it is one transaction, so that it is whole or not at all
NO_RULES: Final = Rules(
    flags=frozenset(), exact=False, distance=None, bounds={}, next_seed=False, accept=None, per=None, tries=1
)


@dataclass(frozen=True, slots=True)
class _Case:
    """A job that is judged, as it was read."""

    row: JobRow
    job: Job
    rules: Rules


class Judge:
    """Judges jobs; `fence` opens every transaction."""

    def __init__(
        self, database: Database, specs: SpecStore, *, fence: Callable[[Connection], None], chunk_s: float
    ) -> None:
        self._database = database
        self._specs = specs
        self._fence = fence
        self._chunk_s = chunk_s
        self._broken: dict[str, str] = {}  # jobs that could not be judged, and why, so that it is logged once

    def judge(self) -> int:
        """Judge every job that waits for it. Returns how many.

        A job that cannot be judged, for whatever reason of its own, is tried again by each call, after the others.

        Raises:
            StoreAway: The next call goes on.
            DatabaseAway: Likewise.
            NotLeading: Likewise.
        """
        with self._database.read() as connection:
            waiting = quality.waiting(connection)
        self._broken = {job_id: why for job_id, why in self._broken.items() if job_id in waiting}
        return sum(self._try(job_id) for job_id in sorted(waiting, key=self._broken.__contains__))

    def _try(self, job_id: str) -> bool:
        """Judge one job, whose troubles are not those of others."""
        try:
            is_judged = self._judge(job_id)
        except TransientError:
            raise
        except Exception as error:
            if self._broken.get(job_id) != repr(error):
                is_bug = not isinstance(error, FarmError)
                log.error("judging broken off", exc_info=is_bug, extra={"job": job_id, "why": str(error)})
            self._broken[job_id] = repr(error)
            return False
        self._broken.pop(job_id, None)
        return is_judged

    def _judge(self, job_id: str) -> bool:
        """Judge one job. Returns False if it changed meanwhile; it waits again where it still has to."""
        with self._database.read() as connection:
            row = jobs.get(connection, job_id)
        try:
            job = self._specs.load(job_id, spec_hash=row.spec_hash)
        except PermanentError as error:  # nobody can say what it wanted; what was made stays
            log.warning("not judged", extra={"job": job_id, "why": str(error)})
            return self._close_unjudged(row, str(error))
        case = _Case(row, job, Rules.of(job.spec) or NO_RULES)
        made = (_facts(one) for one in self._read(job_id) if one.state == ImageState.DONE)
        rejected = verdicts(made, case.rules, firsts=[product.first for product in job.products])
        if not self._mark(case, rejected):
            return False
        cells = self._count(case, rejected) if case.rules.next_seed else None
        takes = [] if cells is None else cells.next_takes()[:ROUND]
        if takes:
            return self._go_on(case, takes, rejected=len(rejected))
        return self._close(case, rejected=len(rejected), short=0 if cells is None else len(cells.short()))

    def _read(self, job_id: str) -> Iterator[Judgeable]:
        after = -1
        while True:
            with self._database.read() as connection:
                page = quality.page(connection, job_id, after=after, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].number

    def _mark(self, case: _Case, rejected: Mapping[int, str]) -> bool:
        """Write what differs from the verdicts. Returns False if the job changed meanwhile."""
        said = ((one.number, one.rejected, rejected.get(one.number)) for one in self._read(case.row.id))
        news = ((number, verdict) for number, before, verdict in said if before != verdict)
        while batch := dict(islice(news, BATCH)):
            with self._database.write() as connection:
                if not self._is_same(connection, case.row):
                    return False
                quality.mark(connection, case.row.id, batch)
        return True

    def _count(self, case: _Case, rejected: Mapping[int, str]) -> Cells:
        """Every image in its cell; those that an extension brought meanwhile are judged when it is complete."""
        rules, places = case.rules, len(case.job)
        cells = Cells(quota=rules.accept or 1, tries=rules.tries)
        for one in self._read(case.row.id):
            if place_of(one.number) >= places:
                continue
            failed, is_rejected = one.state == ImageState.FAILED, one.number in rejected
            if rules.accept is None and not failed and not is_rejected and not take_of(one.number):
                continue  # a place that is filled: most are, and a cell each would be much
            outcome: Outcome = "failed" if failed else "rejected" if is_rejected else "accepted"
            cells.add(_cell(case, one.number), one.number, outcome)
        return cells

    def _go_on(self, case: _Case, takes: list[int], *, rejected: int) -> bool:
        """Give the job its next takes."""
        row = case.row
        with self._database.write() as connection:
            if not self._is_same(connection, row):
                return False
            linked = add_takes(connection, row, case.job, takes, chunk_s=self._chunk_s)
            jobs.change(connection, row.id, rejected=rejected)
            goes = "1 goes on with its next seed" if len(takes) == 1 else f"{len(takes)} go on with their next seeds"
            told = f"{rejected} of {row.done} images rejected, {goes}"
            events.add(connection, row.id, "judged", f"{told}, {linked} of them exist already" if linked else told)
        log.info("takes added", extra={"job": row.id, "images": len(takes), "rejected": rejected})
        return True

    def _close(self, case: _Case, *, rejected: int, short: int) -> bool:
        row = case.row
        with self._database.write() as connection:
            if not self._is_same(connection, row):
                return False
            jobs.change(connection, row.id, rejected=rejected, judged=True, short=short)
            by_rule = ", ".join(f"{rule} {count}" for rule, count in quality.reasons(connection, row.id).items())
            told = f"{rejected} of {row.done} images rejected{': ' if by_rule else ''}{by_rule}"
            events.add(connection, row.id, "judged", told)
            if short:
                events.add(connection, row.id, "short", _lacking(case.rules, short))
            finish_if_complete(connection, row.id, now=time.time())
        log.info("job judged", extra={"job": row.id, "rejected": rejected, "short": short})
        return True

    def _close_unjudged(self, row: JobRow, why: str) -> bool:
        with self._database.write() as connection:
            if not self._is_same(connection, row):
                return False
            jobs.change(connection, row.id, judged=True)
            events.add(connection, row.id, "not judged", why)
            return finish_if_complete(connection, row.id, now=time.time())

    def _is_same(self, connection: Connection, seen: JobRow) -> bool:
        """Open a transaction as the leader. Returns whether the job is as it was read, and still to be judged."""
        self._fence(connection)
        if not jobs.exists(connection, seen.id):
            return False
        row = jobs.get(connection, seen.id, lock=True)
        same = (row.spec_hash, row.images, row.done, row.failed) == (
            seen.spec_hash, seen.images, seen.done, seen.failed,
        )  # fmt: skip
        return same and row.state in quality.JUDGED_IN and not row.judged and row.wish not in UNWANTED


def _facts(one: Judgeable) -> Facts:
    return Facts(one.number, one.flags, one.scores, one.pixel_sha256, one.phash)


def _cell(case: _Case, number: int) -> Hashable:
    """What an image counts for: the values of `per`, or its place alone."""
    per = case.rules.per
    if case.rules.accept is None or per is None:
        return place_of(number)
    if not per:
        return ()
    place = case.job[place_of(number)]
    assert place is not None  # empty places have no rows
    return tuple(str(place.values[name] if name in place.values else place.labels.get(name)) for name in per)


def _lacking(rules: Rules, short: int) -> str:
    if rules.accept is None:
        times = "once" if rules.tries == 1 else f"{rules.tries} times"
        places = f"{short} {'place' if short == 1 else 'places'}"
        return f"{places} without an accepted image (rejected {times}, or failed)"
    per = f" per {', '.join(rules.per)}" if rules.per else ""
    cells = f"{short} {'cell' if short == 1 else 'cells'}"
    return f"{cells} short of accept = {rules.accept}{per}; no take of theirs is left to try"
