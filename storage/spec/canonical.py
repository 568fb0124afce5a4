"""One spelling for every JSON value, so that equal content has one hash.

Keys sorted, no blanks, UTF-8 unescaped, floats in Python's shortest form, NaN and infinities refused.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: object) -> bytes:
    """Encode a JSON value in its one spelling. Raises ValueError for NaN and infinities."""
    return _ENCODER.encode(value).encode()


def digest(value: object) -> str:
    """SHA-256 of the canonical spelling, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def seed_from(parts: Mapping[str, object]) -> int:
    """A seed in [0, 2**63) that depends on `parts` alone: the first 8 bytes of their hash, less one bit."""
    return int.from_bytes(hashlib.sha256(canonical(parts)).digest()[:8]) >> 1
