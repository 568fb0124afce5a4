"""Code of the operator's own that jobs name by entry point: found, allowed, and known by the digest of what runs.

The digest is of the module that the entry point names, and of name and version of its distribution; what that module
imports is not looked at. It is taken when this process first loads the module, for that is the code that runs here
until the process ends, whatever becomes of the file.
"""

import hashlib
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from storage.errors import RefusedHere, nearest
from storage.spec import digest
from storage.spec.named_code import WATERMARK, Named
from storage.spec.recipe import CALLBACK
from storage.wire.messages import ModelEntry

GROUPS: Final = {CALLBACK: "seedfarm.callbacks", WATERMARK: "seedfarm.watermarks"}
_SAID: Final = {CALLBACK: ("callbacks", "FARM_CALLBACKS"), WATERMARK: ("output.watermark", "FARM_WATERMARKS")}
_loaded: dict[str, str | None] = {}  # by module: SHA-256 of its file when this process loaded it


def find_code(kind: str, name: str, *, allowed: tuple[str, ...]) -> EntryPoint:
    """The entry point of code that is about to be loaded.

    Args:
        kind: One of CODE_KINDS.
        name: Of the entry point.
        allowed: Names that jobs may use on this worker.

    Raises:
        RefusedHere: It is not installed, or not allowed.
    """
    key, setting = _SAID[kind]
    known = {entry.name: entry for entry in entry_points(group=GROUPS[kind])}
    if name not in known:
        hint = nearest(name, known) or "none is installed"
        raise RefusedHere(key, name, f"no such entry point in {GROUPS[kind]!r} on this worker; {hint}")
    if name not in allowed:
        raise RefusedHere(key, name, f"not allowed on this worker; its operator sets {setting}")
    if known[name].module not in _loaded:
        _loaded[known[name].module] = _sha256(known[name].module)
    return known[name]


def code_entry(kind: str, name: str, *, allowed: tuple[str, ...]) -> ModelEntry:
    """What this process runs under that name. Raises RefusedHere."""
    found = find_code(kind, name, allowed=allowed)
    by = {"distribution": found.dist.name, "version": found.dist.version} if found.dist is not None else {}
    said = "sha256:" + digest({"module": found.module, "sha256": _loaded[found.module], **by})
    return ModelEntry(kind=kind, digest=said, family=" ".join(by.values()) or found.module)


def check_fresh(code: Named) -> None:
    """Refuse code whose file is another one than this process loaded: a new job means the new one. Raises RefusedHere.

    Args:
        code: An entry of `code_of`.
    """
    key, _ = _SAID[code["kind"]]
    for entry in entry_points(group=GROUPS[code["kind"]]):
        if entry.name == code["source"] and entry.module in _loaded and _loaded[entry.module] != _sha256(entry.module):
            rule = f"{entry.module} was changed after this worker had loaded it; start the worker anew"
            raise RefusedHere(key, entry.name, rule)


def _sha256(module: str) -> str | None:
    """Of the module's file; None where there is none, or where loading it will say why not."""
    try:
        found = find_spec(module)  # imports the packages that it lies in
        origin = found.origin if found is not None and found.has_location else None
        return None if origin is None else hashlib.sha256(Path(origin).read_bytes()).hexdigest()
    except Exception:  # noqa: BLE001  # somebody else's code
        return None
