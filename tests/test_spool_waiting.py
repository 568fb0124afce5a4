"""What counts as waiting for the store, by a clock that only a put moves."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.runs.patience import Patience
from worker.runs.storing.spool import delivery
from worker.runs.storing.uploads import Uploads
from worker_bench import Bench
from worker_desk import fake_model


def test_a_store_that_was_there_all_along_costs_no_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_model(tmp_path)
    bench = Bench(tmp_path)
    object.__setattr__(bench.tools, "uploads", Uploads(1))  # else a second passes for one thread by another's put
    message = bench.freeze()
    puts: list[str] = []
    bench.store.deaf = puts.append  # type: ignore[assignment]  # gives None: the answer comes
    monkeypatch.setattr(delivery, "time", SimpleNamespace(monotonic=lambda: float(len(puts))))  # a put is a second
    monkeypatch.setattr(Patience, "rest", lambda *_: pytest.fail("it waited"))

    manifest = bench.run(message)

    assert manifest.seconds["wait"] == 0
    assert len(puts) == len(set(puts)) == 7  # six images and the manifest, each once
    assert list(bench.disk.folder.iterdir()) == [bench.disk.folder / ".lock"]
    bench.disk.close()
