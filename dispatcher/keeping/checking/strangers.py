"""What lies in the store and belongs to nothing that this farm knows."""

import re
from collections.abc import Iterator

from dispatcher.keeping.checking.problem import Problem, Wrong
from dispatcher.keeping.collecting.garbage import in_pages
from dispatcher.keeping.collecting.judging import CLOCK, Judge, Verdict, store_now
from dispatcher.keeping.collecting.usage import GRACE_S
from dispatcher.keeping.places import place_of
from storage.blobs import BlobStore
from storage.sql import Database
from storage.wire.notes import JOBS

_ABOUT = re.compile(r"spec(-[0-9a-f]{16})?\.json|(job|dropped|removed)\.json|notes/\d{1,10}\.json")
_MODEL = re.compile(r"models/(blobs/[0-9a-f]{64}|[0-9a-f]{64}\.json)")
_INPUT = re.compile(r"inputs/[0-9a-f]{64}")


def strangers(database: Database, store: BlobStore) -> Iterator[Problem]:
    """Objects whose names nothing of the farm gives, and jobs that the database does not know.

    Raises:
        StoreAway: The store does not answer.
        DatabaseAway: SQL does not.
        DatabaseUnaware: The database is empty and the store is not.
    """
    for blob in store.list(""):
        if not _is_ours(blob.key):
            yield Problem(kind=Wrong.STRANGER, key=blob.key, detail=f"{blob.key}: nothing of the farm is called so")
    judge, told = Judge(database, store, before=store_now(store) - GRACE_S), ""
    for page in in_pages(store.list(JOBS)):
        for _, place, verdict in judge.judge(page):
            if verdict == Verdict.UNKNOWN and place.job != told:
                told = place.job
                yield Problem(
                    kind=Wrong.UNKNOWN_JOB, job=told,
                    detail="lies in the store, and the database does not know it; 'farm rebuild' makes rows anew in an "
                    "empty database, 'farm gc --unknown' deletes it",
                )  # fmt: skip


def _is_ours(key: str) -> bool:
    place = place_of(key)
    if place.kind == "about":
        return _ABOUT.fullmatch(place.name) is not None
    patterns = {"input": _INPUT, "model": _MODEL}
    if place.kind in patterns:
        return patterns[place.kind].fullmatch(key) is not None
    return place.kind == "run" or key == CLOCK
