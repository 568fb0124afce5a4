"""Messages that nobody of the farm would send, as whoever reaches the broker could."""

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Exchange, Producer, Queue

PICKLE, JSON = "application/x-python-serialize", "application/json"


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._mark), "w"))


@dataclass(frozen=True)
class Message:
    """A body as it goes over the wire, and what is said of it."""

    body: bytes
    content_type: str = JSON
    encoding: str = "utf-8"
    headers: dict[str, Any] = field(default_factory=dict)


def hostile(task: str, key: str, mark: Path) -> dict[str, Message]:
    """Messages by what is wrong with them.

    Args:
        task: Celery's name of the task that the queue carries.
        key: The one argument that it takes.
        mark: A file that appears if any of them is run.
    """
    said = {"lang": "py", "task": task, "id": "11111111-1111-4111-8111-111111111111", "root_id": None}
    rotten = pickle.dumps(((Bomb(mark),), {key: Bomb(mark)}, {}))
    shell = f"!!python/object/apply:os.system ['touch {mark}']".encode()
    more = {"callbacks": [{"task": "os.system", "args": [f"touch {mark}"]}], "chain": [{"task": task}], "errbacks": [1]}

    def plain(body: object, **headers: Any) -> Message:
        return Message(json.dumps(body).encode(), headers={**said, **headers})

    return {
        "a pickle": Message(rotten, PICKLE, "binary", said),
        "a pickle by its other name": Message(rotten, "application/x-python-pickle", "binary", said),
        "a pickle said to be JSON": Message(rotten, JSON, "binary", said),
        "a pickle said to be nothing": Message(rotten, "", "", said),
        "a pickle said to be data": Message(rotten, "application/data", "binary", said),
        "YAML": Message(shell, "application/x-yaml", "utf-8", said),
        "msgpack": Message(b"\x93\x90\x80\x80", "application/x-msgpack", "binary", said),
        "a type of nobody": Message(b"x", "application/x-evil", "utf-8", said),
        "a letter set of nobody": Message(b'[[],{},{}]', JSON, "x-evil", said),
        "an unknown field": plain([[], {key: "x", "evil": 1}, {}]),
        "no field": plain([[], {}, {}]),
        "places instead of names": plain([["x", "y", "z"], {}, {}]),
        "a number": plain([[], {key: 7}, {}]),
        "a mapping": plain([[], {key: {"kind": "render", "evil": 1}}, {}]),
        "a list": plain([[], {key: ["x"]}, {}]),
        "null": plain([[], {key: None}, {}]),
        "a path": plain([[], {key: "../../../etc/passwd"}, {}]),
        "NUL": plain([[], {key: "a\0b"}, {}]),
        "no arguments at all": plain(5),
        "a mapping of arguments": plain({"args": [], "kwargs": {key: "x"}}),
        "a task of nobody": plain([[f"touch {mark}"], {}, {}], task="os.system"),
        "a task of Celery": plain([[], {}, {}], task="celery.backend_cleanup"),
        "a task by its path": plain([[], {}, {}], task="subprocess:Popen"),
        "callbacks": plain([[], {key: "x"}, more]),
        "a date from nowhere": plain([[], {key: "x"}, {}], eta="never"),
        "a deadline from nowhere": plain([[], {key: "x"}, {}], expires={"a": 1}),
        "limits from nowhere": plain([[], {key: "x"}, {}], timelimit=["a", "b"], retries="many"),
        "a revived object": Message(
            json.dumps([[], {key: {"__type__": "datetime", "__value__": "never"}}, {}]).encode(), headers=said
        ),
        "an object of nobody": Message(
            json.dumps([[], {key: {"__type__": "os.system", "__value__": f"touch {mark}"}}, {}]).encode(), headers=said
        ),
        "nesting": Message(b"[" * 100_000, headers=said),
        "half of a JSON": Message(b'[[], {"', headers=said),
        "no headers": Message(b"[[], {}, {}]"),
        "the first protocol": Message(json.dumps({"task": task, "id": "1", "kwargs": {"evil": 1}}).encode()),
        "many megabytes": plain([[], {key: "x" * 20_000_000}, {}]),
        "a packed nothing": Message(b"x", headers={**said, "compression": "application/x-gzip"}),
        "packed by nobody": Message(b"x", headers={**said, "compression": "application/x-evil"}),
    }  # fmt: skip


def publish(app: Celery, queue: str, messages: dict[str, Message]) -> None:
    """Put them into a queue, one after the other."""
    target = Queue(queue, Exchange(""), routing_key=queue)
    with app.connection_for_write() as line, Producer(line) as producer:
        for message in messages.values():
            producer.publish(
                message.body, content_type=message.content_type, content_encoding=message.encoding,
                headers=message.headers, routing_key=queue, exchange=target.exchange, priority=0,
            )  # fmt: skip


def shout(app: Celery, mark: Path) -> None:
    """Send a pickle to everybody who listens to Celery's commands."""
    with app.connection_for_write() as line, Producer(line) as producer:
        commands = Exchange("celery.pidbox", type="fanout")
        for body, content_type in ((pickle.dumps(Bomb(mark)), PICKLE), (b"[1", JSON), (b'{"method": "evil"}', JSON)):
            producer.publish(body, content_type=content_type, content_encoding="binary", exchange=commands)
