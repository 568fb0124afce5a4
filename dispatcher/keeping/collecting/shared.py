"""Garbage among what jobs share: input images, and the files of models.

What a spec in the store names is in use, and so is every registered model. The hashes of what nobody has been seen to
name yet are held in memory while the specs are read: a hundred bytes an object, and none where there is nothing old.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from dispatcher.keeping.collecting.tally import Tally
from dispatcher.keeping.places import place_of
from storage.blobs import BlobInfo, BlobStore
from storage.errors import BlobMissing, ModelMissing, ModelUnusable
from storage.models.archive import ROOT, Archive
from storage.models.sources import stored_digest
from storage.sql import Database, registry
from storage.wire.keys import input_key
from storage.wire.notes import JOBS

INPUTS: Final = "inputs/"
BLOBS: Final = f"{ROOT}blobs/"
_PAGE: Final = 500  # objects of one delete


class SharedCollector:
    """Finds inputs and models that no job and no name leads to."""

    def __init__(self, database: Database, store: BlobStore, *, before: float) -> None:
        """`before`: only what is older than this goes, Unix seconds of the store."""
        self._database = database
        self._store = store
        self._before = before

    def collect(self, *, inputs: Tally, models: Tally, dry_run: bool) -> None:
        """Count, and unless `dry_run` delete, what is not in use.

        Raises:
            StoreAway: Some of it may be gone; repeat.
            DatabaseAway: Likewise.
        """
        old_inputs = self._old(INPUTS)
        old_models = self._old(ROOT)
        if not old_inputs and not old_models:
            return
        self._keep_named(old_inputs, old_models)
        self._remove(old_inputs, inputs, dry_run=dry_run)
        self._remove(old_models, models, dry_run=dry_run)

    def _old(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of what is older than the grace; the rest may be on its way to be named."""
        return {blob.key: blob.size for blob in self._store.list(prefix) if blob.modified < self._before}

    def _keep_named(self, inputs: dict[str, int], models: dict[str, int]) -> None:
        """Take out what is in use."""
        with self._database.read() as connection:
            sources = {model.source for model in registry.listing(connection)}
        for spec in read_specs(self._store):
            for name in spec.get("inputs", {}):
                inputs.pop(input_key(name), None)
            sources |= {model["source"] for model in spec.get("models", {}).values()}
        kept = {digest for source in sources if (digest := stored_digest(source)) is not None}
        models_kept = {f"{ROOT}{digest}.json" for digest in kept}
        for blob in self._store.list(ROOT):  # a listing that is young or in use keeps its files
            if not blob.key.startswith(BLOBS) and (blob.key in models_kept or blob.key not in models):
                models.pop(blob.key, None)
                for key in self._files(blob):
                    models.pop(key, None)

    def _files(self, blob: BlobInfo) -> Iterator[str]:
        try:
            listing = Archive(self._store).listing(blob.key.removeprefix(ROOT).removesuffix(".json"))
        except (ModelMissing, ModelUnusable):
            return
        for file in listing.files:
            yield f"{BLOBS}{file.sha256}"

    def _remove(self, going: dict[str, int], tally: Tally, *, dry_run: bool) -> None:
        tally.objects += len(going)
        tally.bytes += sum(going.values())
        keys = iter(going)
        while not dry_run and (page := list(islice(keys, _PAGE))):
            self._store.delete(page)


def read_specs(store: BlobStore) -> Iterator[dict[str, Any]]:
    """Every frozen spec in the store as JSON; what cannot be read is passed over."""
    for blob in store.list(JOBS):
        if place_of(blob.key).is_spec:
            try:
                spec = json.loads(store.get(blob.key))
            except (BlobMissing, ValueError):
                continue
            if isinstance(spec, dict):
                yield spec
