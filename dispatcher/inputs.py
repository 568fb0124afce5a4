"""Input images on their way into the object store: each once, under the hash of its bytes."""

import hashlib
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from storage.blobs import BlobStore
from storage.errors import UserError
from storage.wire.keys import input_key

SENDERS: Final = 8  # threads: each may hold one file, and waits for the store most of the time
_BLOCK: Final = 256  # pictures looked after at a time, so that a job's size costs no memory
_OLD_S: Final = 12 * 3600  # half of the grace that a collector gives what no job names
_SHOWN: Final = 3
_TOLD: Final = 200  # fewer pictures are there at once
_TYPES: Final = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}

Say = Callable[[int, int], None]  # hears (pictures that are in the store, pictures in all)
Facts = Mapping[str, Mapping[str, Any]]


def store_inputs(facts: Facts, files: Mapping[str, str], *, store: BlobStore, say: Say | None = None) -> int:
    """See to it that the store holds every input image. Safe to repeat: what is there is not sent.

    Args:
        facts: Of every image, by its hash.
        files: Where each lies on this machine; one without a place must be in the store already.
        store: Where they go.
        say: Hears how far it is.

    Returns:
        How many were sent.

    Raises:
        UserError: One is nowhere, or its file has changed since it was looked at.
        StoreAway: Some may be there already; repeat.
        DiskFull: The store has no room.
    """
    sent, missing = 0, []
    with closing(_settled(facts, files, store)) as outcomes:
        for done, (name, outcome) in enumerate(outcomes, start=1):
            sent += outcome == "sent"
            if outcome == "missing":
                missing.append(name)
            if say is not None:
                say(done, len(facts))
    if missing:
        names = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        raise UserError(f"input images {names}: not in this farm's store; 'farm put FILE' brings one there")
    return sent


def say_inputs(done: int, total: int) -> None:
    """Tell a person how far it is, ten times at most."""
    if total >= _TOLD and 10 * done // total > 10 * (done - 1) // total:
        click.echo(f"  {done} of {total} input images are in the store", err=True)


def _settled(facts: Facts, files: Mapping[str, str], store: BlobStore) -> Generator[tuple[str, str], None, None]:
    """Every image with what became of it, in order."""
    names = iter(facts)
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="put") as pool:
        while block := list(islice(names, _BLOCK)):
            outcomes = pool.map(lambda name: _settle(name, facts[name], files.get(name), store), block)
            yield from zip(block, outcomes, strict=True)


def _settle(name: str, known: Mapping[str, Any], file: str | None, store: BlobStore) -> str:
    key = input_key(name)
    known_there = store.head(key)
    if known_there is not None:
        if time.time() - known_there.modified > _OLD_S:  # a collector may be about to take what nobody named so far
            store.put(key, store.get(key), content_type=_TYPES[known["format"]])
        return "there"
    if file is None:
        return "missing"
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read any more ({(error.strerror or str(error)).lower()})") from None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != name:
        raise UserError(f"{file}: has changed since it was looked at; give the command again")
    store.put(key, data, content_type=_TYPES[known["format"]])
    return "sent"
