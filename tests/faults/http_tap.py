"""An HTTP proxy in front of an S3 server that fails as real ones do: errors, resets, half a body, a thin line.

Which request meets which fault is drawn from a seeded generator. Requests go on byte for byte, their Host header
included: a client signs the address that it was given, which is this proxy's, and the server checks the signature
against the header that arrives. Only `Expect` is answered here and left out; signatures do not cover it.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from faults.taps import Tap, reset

_LENGTH = re.compile(rb"^content-length: *([0-9]+)", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding: *chunked", re.IGNORECASE | re.MULTILINE)
_LAST = re.compile(rb"^connection: *close", re.IGNORECASE | re.MULTILINE)
_EXPECT = re.compile(rb"^expect: *100-continue\r\n", re.IGNORECASE | re.MULTILINE)
_BODILESS = {b"204", b"304"}
Send = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
_SLICES = 20  # a second, on a thin line
HEAD_LIMIT = 2**16

REFUSAL = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
FAILURE = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Shares of requests, from 0 to 1, that end badly; half of them before the server saw them, half after."""

    errors: float = 0.0  # 503 or 500
    resets: float = 0.0
    truncated: float = 0.0  # half of an answer, or half of what is uploaded
    bytes_per_s: int | None = None  # of each connection


class HttpTap(Tap):
    """One S3 server behind a line that fails on demand."""

    def __init__(self, target: int, *, seed: int = 0) -> None:
        super().__init__(target)
        self.dealt: Counter[str] = Counter()  # faults so far, by kind
        self.served = 0  # requests that went well
        self._random = random.Random(seed)
        self._trouble = Trouble()

    def trouble(self, trouble: Trouble) -> None:
        """From now on fail like this."""
        self._trouble = trouble

    def heal(self) -> None:
        """Pass everything on again."""
        self._trouble = Trouble()
        super().heal()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry requests until either side hangs up or a fault ends the connection."""
        there: Line = Line(self.target)
        try:
            while (request := await read_request(reader, writer)) is not None:
                await self._flow.wait()
                fault = self._draw()
                if fault is not None:
                    goes_on = await self._fail(fault, request, writer)
                else:
                    goes_on = await self._answer(request, writer, there)
                if not goes_on:
                    return
        finally:
            there.close()

    def _draw(self) -> str | None:
        lot, now = self._random.random(), self._trouble
        for kind, share in (("errors", now.errors), ("resets", now.resets), ("truncated", now.truncated)):
            if lot < share:
                self.dealt[kind] += 1
                return f"{kind} {'before' if lot < share / 2 else 'after'}"
            lot -= share
        self.served += 1
        return None

    async def _fail(self, fault: str, request: bytes, writer: asyncio.StreamWriter) -> bool:
        kind, _, when = fault.partition(" ")
        if kind == "truncated":
            await self._halve(request, writer)
            return False
        if when == "after":
            await self._forward(request)  # the server has done it; only the answer is lost
        if kind == "resets":
            reset(writer)
            return False
        status, body = (b"503 Slow Down", REFUSAL) if when == "before" else (b"500 Internal Server Error", FAILURE)
        head = b"HTTP/1.1 %b\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        await self._send(writer, head + (b"" if request.startswith(b"HEAD ") else body))
        return True

    async def _halve(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        if body:
            _, there = await asyncio.open_connection("127.0.0.1", self.target)
            there.write(head + b"\r\n\r\n" + body[: len(body) // 2])
            await there.drain()
            there.close()
        else:
            answer = await self._forward(request)
            said = answer.partition(b"\r\n\r\n")[2]
            await self._send(writer, answer[: len(answer) - (len(said) + 1) // 2])
        reset(writer)

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter, there: "Line") -> bool:
        answer = await there.ask(request, send=self._send)
        await self._send(writer, answer)
        return there.is_open

    async def _forward(self, request: bytes) -> bytes:
        there = Line(self.target)
        try:
            return await there.ask(request, send=self._send)
        finally:
            there.close()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        size = len(data) if self._trouble.bytes_per_s is None else max(1, self._trouble.bytes_per_s // _SLICES)
        for start in range(0, len(data), size or 1):
            writer.write(data[start : start + size])
            await writer.drain()
            if size < len(data):
                await asyncio.sleep(1 / _SLICES)


class Line:
    """One connection to the server, opened when it is first needed and again when the server has closed it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def is_open(self) -> bool:
        return self._ends is not None

    async def ask(self, request: bytes, *, send: Send) -> bytes:
        """Send a request whole and read the answer whole."""
        is_used = self.is_open
        try:
            return await self._ask(request, send)
        except (OSError, EOFError):
            self.close()
            if not is_used:
                raise
        return await self._ask(request, send)  # a server may close a connection that was idle

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None

    async def _ask(self, request: bytes, send: Send) -> bytes:
        if self._ends is None:
            self._ends = await asyncio.open_connection("127.0.0.1", self._target, limit=HEAD_LIMIT)
        reader, writer = self._ends
        await send(writer, request)
        answer, goes_on = await read_answer(reader, bodiless=request.startswith(b"HEAD "))
        if not goes_on:
            self.close()
        return answer


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
    """One whole request, or None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    if _EXPECT.search(head):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        head = _EXPECT.sub(b"", head)
    return head + await _body(head, reader)


async def read_answer(reader: asyncio.StreamReader, *, bodiless: bool) -> tuple[bytes, bool]:
    """One whole answer, whatever its framing, and whether another one may follow."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if status == b"100":
        return await read_answer(reader, bodiless=bodiless)
    goes_on = _LAST.search(head) is None
    if bodiless or status in _BODILESS:
        return head, goes_on
    if _LENGTH.search(head) or _CHUNKED.search(head):
        return head + await _body(head, reader), goes_on
    return head + await reader.read(), False


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    if _CHUNKED.search(head):
        parts = []
        while True:
            line = await reader.readuntil(b"\r\n")
            piece = await reader.readexactly(int(line.split(b";")[0], 16) + 2)
            parts += [line, piece]
            if len(piece) == 2:
                return b"".join(parts)
    length = _LENGTH.search(head)
    return await reader.readexactly(int(length[1])) if length else b""
