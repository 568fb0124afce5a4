"""Input images of other hosts: fetched over https, from hosts that the operator allows, once, up to a cap.

A name is looked up once and the connection goes to the address that was looked at, so that it cannot lead elsewhere a
moment later. Proxies of the environment are not used: they would look names up anew.
"""

import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from storage.errors import shorten
from storage.spec.file.addresses import is_public

ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*", re.DOTALL)
TIMEOUT_S: Final = 15.0  # of one answer of the host
PATIENCE_S: Final = 180.0  # of a whole picture, with all that leads to it
MAX_HOPS: Final = 5  # times that a host may send us on
_PORT: Final = 443
_BLOCK: Final = 2**18  # bytes
_PLAIN: Final = re.compile(r"https://[!-~]+", re.IGNORECASE)  # printable ASCII without a space
_HEADERS: Final = {
    "User-Agent": "seedfarm", "Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close",
}  # fmt: skip
_SENT_ON: Final = (301, 302, 303, 307, 308)


class Refused(Exception):  # it becomes a sentence about a key of the job file
    """A picture that is not fetched. Args: the rule."""


def fetch(address: str, *, hosts: frozenset[str], max_bytes: int) -> bytes:
    """The bytes behind an address.

    Args:
        address: https://...
        hosts: Names that may be asked, in lower case; one with a port is "host:port". Redirects must stay there. A
            name must lead to a public address, or to one that is in this list itself.
        max_bytes: More than that is refused.

    Raises:
        Refused: The host is not allowed, does not answer, or answers something else.
    """
    end = time.monotonic() + PATIENCE_S
    for _ in range(1 + MAX_HOPS):
        parts = _check(address, hosts)
        with _asked(parts, hosts=hosts, end=end) as answer:
            if answer.status not in _SENT_ON or not (target := answer.getheader("Location")):
                return _take(answer, max_bytes=max_bytes, end=end)
            status, onward = answer.status, urljoin(address, target)
        try:
            _check(onward, hosts)
        except Refused as refusal:
            raise Refused(f"the host sends us on to {shorten(onward)}: {refusal}") from None
        address = onward
    raise Refused(f"the host answers {status} more than {MAX_HOPS} times in a row; look at the address")


def _check(address: str, hosts: frozenset[str]) -> SplitResult:
    if not address.lower().startswith("https://"):
        raise Refused("must be a file, an https:// address, or sha256:... of 'farm put'")
    try:
        parts = urlsplit(address)
        host, port = _host_of(parts), parts.port
    except ValueError:
        raise Refused("is no address") from None
    if not _PLAIN.fullmatch(address) or "\\" in address or parts.username is not None or not host:
        raise Refused("is no plain address, https://host/path without names, passwords or spaces")
    wanted = host if port in (None, _PORT) else f"{host}:{port}"
    if wanted not in hosts:
        raise Refused(f"host {wanted} is not in FARM_INPUT_HOSTS; add it there, or download the picture")
    return parts


def _host_of(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    return f"[{host}]" if ":" in host else host


@contextmanager
def _asked(parts: SplitResult, *, hosts: frozenset[str], end: float) -> Iterator[HTTPResponse]:
    """The answer of a host, read while the block lasts; past `end` the connection breaks, whatever it is doing."""
    connection = _Connection(parts.hostname or "", parts.port or _PORT, hosts=hosts, end=end)
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    try:
        connection.request("GET", path if path.startswith("/") else f"/{path}", headers=_HEADERS)
        with connection.getresponse() as answer:
            yield answer
    except (OSError, HTTPException, ValueError) as error:
        if time.monotonic() >= end:
            raise Refused(f"did not come within {PATIENCE_S:g} s; download it and name the file") from None
        raise Refused(f"cannot be fetched ({_brief(error)}); download it and name the file") from None
    finally:
        connection.let_go()


class _Connection(HTTPSConnection):
    """Goes to an address that was looked at, and not to whatever the name leads to a moment later."""

    def __init__(self, host: str, port: int, *, hosts: frozenset[str], end: float) -> None:
        self._context_of_host = ssl.create_default_context()
        super().__init__(host, port, timeout=TIMEOUT_S, context=self._context_of_host)
        self._hosts = hosts
        self._end = end
        self._alarm: threading.Timer | None = None
        self._spare: socket.socket | None = None  # the same line, for the alarm

    def connect(self) -> None:
        """Look the name up, connect, and hold the certificate against the name."""
        line = _connect(self.host, self.port, hosts=self._hosts, end=self._end)
        # A host may send a byte now and then for ever, in headers too; a line that is shut down ends every wait.
        self._spare = line.dup()
        self._alarm = threading.Timer(max(0.0, self._end - time.monotonic()), _shut, [self._spare])
        self._alarm.daemon = True
        self._alarm.start()
        self.sock = self._context_of_host.wrap_socket(line, server_hostname=self.host)

    def let_go(self) -> None:
        """Close the connection and end the watch over it; the library calls `close` while it still reads."""
        self.close()
        if self._alarm is not None and self._spare is not None:
            self._alarm.cancel()
            self._spare.close()


def _connect(host: str, port: int, *, hosts: frozenset[str], end: float) -> socket.socket:
    found = [entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    allowed = [str(address) for address in dict.fromkeys(found) if _may_ask(str(address), port, hosts)]
    if not allowed:
        raise Refused(
            f"host {host} leads to {', '.join(map(str, dict.fromkeys(found)))}, no public address; "
            "if that is meant, add the address itself to FARM_INPUT_HOSTS"
        )
    for place, address in enumerate(allowed, start=1):
        try:
            return socket.create_connection((address, port), timeout=max(0.1, min(TIMEOUT_S, end - time.monotonic())))
        except OSError:
            if place == len(allowed):
                raise
    raise AssertionError


def _may_ask(address: str, port: int, hosts: frozenset[str]) -> bool:
    written = f"[{address}]" if ":" in address else address
    return is_public(address) or f"{written}:{port}" in hosts or (port == _PORT and written in hosts)


def _shut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _take(answer: HTTPResponse, *, max_bytes: int, end: float) -> bytes:
    if answer.status != 200:
        raise Refused(f"the host answers {answer.status} {answer.reason}; look at the address")
    data, declared = bytearray(), answer.length
    while len(data) <= max_bytes >= (declared or 0) and len(data) != declared and (block := answer.read1(_BLOCK)):
        data += block
    if time.monotonic() >= end:  # a line that was shut down reads like a host that came to its end
        raise TimeoutError
    if max(len(data), declared or 0) > max_bytes:
        raise Refused(f"has more than {max_bytes} bytes (FARM_INPUT_BYTES)")
    if declared is not None and len(data) < declared:
        raise Refused(f"was cut short at {len(data)} of {declared} bytes; try again, or download it and name the file")
    return bytes(data)


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
