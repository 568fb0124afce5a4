"""Frozen specs in the object store, addressed by job and hash.

Every spec that a job ever had stays: chunks that are out name the one that they were cut by.
"""

import json
import threading
from collections import OrderedDict

from storage.blobs import BlobStore
from storage.errors import BlobMissing, PermanentError
from storage.spec import Job, Spec, canonical, digest
from storage.spec.job import SPEC_SCHEMA
from storage.wire.keys import first_spec_key, spec_key

KEPT = 8  # specs in memory; a spec holds every prompt of its job


class SpecMismatch(PermanentError):
    """The spec in the store is not the one that was submitted. Args: key, wanted hash, found hash."""

    text = "spec {0} has hash {2}, the job was submitted with {1}; submit it again"


class SpecUnreadable(PermanentError):
    """A spec of another version of the farm. Args: key, what is wrong, what to do."""

    text = "spec {0} cannot be read by this farm: {1}; {2}"


class SpecStore:
    """Reads and writes specs; keeps the last few."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def save(self, job_id: str, spec: Spec) -> None:
        """Write a spec of a job. Raises StoreAway, DiskFull."""
        self._store.put(spec_key(job_id, spec.hash), canonical(spec.to_json()), content_type="application/json")

    def load(self, job_id: str, *, spec_hash: str) -> Job:
        """The job's images by its spec.

        Raises:
            BlobMissing: The store has no such spec.
            StoreAway: It does not answer.
            SpecMismatch: It is another spec.
        """
        with self._lock:  # the recorder's two threads share one
            job = self._jobs.pop(spec_hash, None)
        if job is None:
            job = Job(self._read(job_id, spec_hash))
        with self._lock:
            self._jobs[spec_hash] = job
            while len(self._jobs) > KEPT:
                self._jobs.popitem(last=False)
        return job

    def _read(self, job_id: str, spec_hash: str) -> Spec:
        key, data = self._find(job_id, spec_hash)
        try:
            entry = json.loads(data)
            found = digest(entry)
        except ValueError:
            raise SpecMismatch(key, spec_hash, "none: it is no JSON") from None
        if found != spec_hash:
            raise SpecMismatch(key, spec_hash, found)
        try:
            return Spec.from_json(entry)
        except (ValueError, TypeError, KeyError) as error:
            schema = entry.get("schema") if isinstance(entry, dict) else None
            is_older = isinstance(schema, int) and schema < SPEC_SCHEMA
            step = "submit its job file again" if is_older else "a newer farm wrote it: upgrade this one"
            raise SpecUnreadable(key, error, step) from None

    def _find(self, job_id: str, spec_hash: str) -> tuple[str, bytes]:
        """Key and bytes of a spec. Raises BlobMissing with the key that it should have."""
        key, first = spec_key(job_id, spec_hash), first_spec_key(job_id)
        try:
            return key, self._store.get(key)
        except BlobMissing as missing:
            try:
                return first, self._store.get(first)
            except BlobMissing:
                raise missing from None
