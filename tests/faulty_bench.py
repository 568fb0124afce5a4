"""Ways to make a bench's renderer fail."""

import json
from typing import Any

from storage.spec import Numbers
from storage.wire.messages import Manifest, Ranges
from worker_bench import Bench
from worker_desk import PLAN

SMALLER = PLAN.model_copy(update={"batch": 2})


def misbehave(bench: Bench, **entries: Any) -> None:
    """Rewrite the fake model."""
    (bench.folder / "model" / "fake.json").write_text(json.dumps(entries))


def raising(bench: Bench, method: str, error: Exception, *, times: int = 10**9) -> list[int]:
    """Make a method of the renderer raise; returns a list that grows by one a call."""
    calls: list[int] = []
    plain = getattr(bench.renderer, method)

    def broken(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return plain(*given, **more)

    setattr(bench.renderer, method, broken)
    return calls


def numbers(ranges: Ranges) -> list[int]:
    return list(Numbers.from_json(ranges))


def made(manifest: Manifest) -> list[int]:
    return [image.number for image in manifest.images]


class OutOfMemoryError(RuntimeError):
    pass


class AcceleratorError(RuntimeError):
    pass
