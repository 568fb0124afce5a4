"""The specs of the jobs at hand, read from the store and checked by their hash."""

import json
from collections import OrderedDict
from typing import Final

from storage import keys
from storage.blobs import BlobStore
from storage.errors import PermanentError
from storage.spec import Job, Spec
from worker.runs.patience import Patience

LIMIT: Final = 4  # a spec may hold a table of a million rows


class Specs:
    """A few jobs by their spec's hash."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def get(self, job: str, spec_hash: str, *, patience: Patience) -> Job:
        """The job with that spec.

        Raises:
            StoreAway: It is away, and patience has ended.
            PermanentError: The spec is missing, cannot be read, or is another one.
        """
        if spec_hash not in self._jobs:
            self._jobs[spec_hash] = self._read(job, spec_hash, patience)
        self._jobs.move_to_end(spec_hash)
        while len(self._jobs) > LIMIT:
            self._jobs.popitem(last=False)
        return self._jobs[spec_hash]

    def _read(self, job: str, spec_hash: str, patience: Patience) -> Job:
        key = keys.spec_key(job)
        raw = patience.insist(lambda: self._store.get(key), what=key)
        try:
            spec = Spec.from_json(json.loads(raw))
        except (ValueError, TypeError, KeyError) as error:
            raise PermanentError(f"spec {key} cannot be read by this worker: {error}; update the worker") from None
        if spec.hash != spec_hash:
            raise PermanentError(f"spec {key} has hash {spec.hash[:12]}, the chunk was cut from {spec_hash[:12]}")
        return Job(spec)
