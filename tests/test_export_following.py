"""What a log says while an export runs."""

from collections.abc import Callable

import pytest

from dispatcher.export.counting import Progress
from dispatcher.export.following import following


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def test_a_log_has_images_per_second_and_when_it_ends(
    pass_time: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with following(plain=True, quiet=False) as say:
        say(Progress(done=1, total=400, bytes=100, shards=0, of=4))
        pass_time(5)
        say(Progress(done=100, total=400, bytes=10_000, shards=1, of=4))
        say(Progress(done=101, total=400, bytes=10_100, shards=1, of=4))
        pass_time(15)
        say(Progress(done=400, total=400, bytes=40_000, shards=3, of=4))

    assert capsys.readouterr().err.splitlines() == [
        "   0:05  100/400 images  10.0 kB, shard 2/4  20 img/s  ETA 0:15",
        "   0:20  400/400 images  40.0 kB, shard 4/4  20 img/s",
    ]


def test_a_script_that_asked_for_json_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with following(plain=True, quiet=True) as say:
        say(Progress(done=4, total=4, bytes=100, shards=0, of=1))

    assert capsys.readouterr().err == ""
