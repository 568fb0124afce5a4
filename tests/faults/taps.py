"""A TCP proxy in front of a server, which can go away, hang or cut its connections while the farm runs.

It passes bytes as they are. All taps live on one event loop in a thread of its own; every method may be called from
anywhere.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
BLOCK = 2**16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, which a peer sees as "connection reset"


class Tap:
    """Listens on `port` and passes everything on to `target`, a port of this machine, until told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self._server: asyncio.Server | None = None
        self._flow = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        _run(self._open())

    def away(self) -> None:
        """Refuse connections and cut those that there are: the server's host is up, the server is not."""
        _run(self._shut(), self._cut())

    def hang(self) -> None:
        """Accept connections and pass nothing on: the network swallows packets."""
        _run(self._pause())

    def cut(self) -> None:
        """Reset every connection, once."""
        _run(self._cut())

    def heal(self) -> None:
        """Pass everything on again, what was held back included."""
        _run(self._open())

    def close(self) -> None:
        """End for good."""
        _run(self._shut(), self._cut(), self._end())

    async def _open(self) -> None:
        self._flow.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is None:
            return
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener)
        await asyncio.sleep(0)  # asyncio loses what it accepted and did not attach before the server closed
        self._server.close()
        self._server = None

    async def _pause(self) -> None:
        self._flow.clear()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            reset(writer)

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                if self._server is None:  # it came in the moment before the listener went away
                    reset(writer)
                    return
                await self._flow.wait()
                await self.serve(reader, writer)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.add(there)
        pumps = [asyncio.ensure_future(self._pump(*ends)) for ends in ((reader, there), (there_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(there)
            there.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(BLOCK):
            await self._flow.wait()
            sink.write(data)
            await sink.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="taps", daemon=True).start()
    return loop


def _run(*steps: Coroutine[Any, Any, None]) -> None:
    async def all_of_them() -> None:
        for step in steps:
            await step

    asyncio.run_coroutine_threadsafe(all_of_them(), _loop()).result(timeout=10)
