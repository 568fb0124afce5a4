"""What tests of input images from other hosts share: an ear at a private port, and a network that the test plays."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage.errors import UserError
from storage.spec.file.allowed import Allowed
from storage.spec.file.inputs import InputImages


def refusal(address: str, hosts: frozenset[str], **allowed: Any) -> str:
    images = InputImages(Path("/"), Allowed(input_hosts=hosts, **allowed))
    with pytest.raises(UserError) as caught:
        images.take(address, path="init_image")
    return str(caught.value)


class Watched:
    """A port of this machine that nobody should come to, and every look-up that was made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.lookups: list[str] = []
        self.connected: list[str] = []
        self.leads_to: list[str] = []
        self._patch = monkeypatch

    def answer(self, *addresses: list[str]) -> None:
        """From now on every name leads there; with several lists, each look-up to the next one."""
        answers = list(addresses)

        def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
            self.lookups.append(host)
            self.leads_to = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.leads_to]

        def connect(place: tuple[str, int], *_: object, **__: object) -> socket.socket:
            self.connected.append(place[0])
            raise ConnectionRefusedError("the test lets nobody through")

        self._patch.setattr(socket, "getaddrinfo", look_up)
        self._patch.setattr(socket, "create_connection", connect)

    @property
    def visitors(self) -> int:
        count = 0
        while True:
            try:
                self._listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._listener.close()


@contextmanager
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched(monkeypatch)
    yield watched
    watched.close()
