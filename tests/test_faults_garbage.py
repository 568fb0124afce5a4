"""What lies in the queue `record` and is no message of a worker is dropped with one line each; recording goes on."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from fault_fixtures import MakeFarm
from faults.checks import assert_whole
from faults.farm import Farm
from faults.messages import STEPS
from hostile_messages import hostile, publish
from storage.wire.celery_app import RECORD, make_app
from storage.wire.keys import RECORD_QUEUE


def raw(mark: Path) -> dict[str, bytes]:
    """Elements of a list that Kombu never wrote, by what is wrong with them."""
    body: dict[str, object] = {"content-type": "application/json", "content-encoding": "utf-8", "headers": {}}
    said = {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": RECORD_QUEUE}, "priority": 0}

    def envelope(text: object = "W10=", **properties: Any) -> bytes:
        return json.dumps({**body, "body": text, "properties": {**said, "delivery_tag": "t", **properties}}).encode()

    return {
        "nothing": b"",
        "bytes": b"\xff\xfe\x00",
        "half of an envelope": envelope()[:40],
        "a pickle": pickle.dumps({"mark": str(mark)}),
        "megabytes of noise": b"\x80" * 5_000_000,
        "nesting": b"[" * 100_000,
        "null": b"null",
        "a number": b"7",
        "a list": b"[[], {}, {}]",
        "a name": b'"jobs/x/0.1-r/manifest.json"',
        "an empty envelope": b"{}",
        "an envelope without properties": json.dumps(body).encode(),
        "properties of another shape": json.dumps({**body, "properties": [1]}).encode(),
        "no tag": json.dumps({**body, "properties": said}).encode(),
        "a tag that is none": envelope(delivery_tag={"a": [1]}),
        "a body that is no text": envelope({"a": 1}),
        "an encoding of nobody": envelope(body_encoding="rot13"),
        "a way from nowhere": envelope(delivery_info=5),
    }  # fmt: skip


def garbage_left(farm: Farm) -> int:
    """What lies in the queue still, or was taken and not let go."""
    return sum(int(farm.redis.llen(RECORD_QUEUE + step)) for step in STEPS) + int(farm.redis.hlen("unacked"))


@pytest.mark.timeout(120)
def test_garbage_in_the_records_is_dropped_and_recording_goes_on(shelf: MakeFarm, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    farm = shelf(workers=1)
    farm.wait(farm.leader, what="a leader")
    elements, messages = raw(mark), hostile(RECORD, "manifest", mark)
    messages["five megabytes"] = messages.pop("many megabytes")
    app = make_app(farm.broker_url, role="test")

    for element in elements.values():
        farm.redis.rpush(RECORD_QUEUE, element)
    publish(app, RECORD_QUEUE, messages)
    farm.submit("after", images=24)
    farm.wait_done("after")
    farm.wait(lambda: garbage_left(farm) == 0, what="the end of the garbage")

    app.close()
    assert_whole(farm, "after")
    assert not mark.exists()
    assert farm.said("d1", "Traceback") == 0
    assert farm.said("d1", "records start again") == 0
    assert farm.said("d1", " refused ") == len(elements) + len(messages)
