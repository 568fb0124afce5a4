"""Input images of other hosts: fetched over https, from hosts that the operator allows, once, up to a cap."""

import re
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from storage.errors import shorten

ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*", re.DOTALL)
TIMEOUT_S: Final = 15.0  # of one answer of the host
PATIENCE_S: Final = 180.0  # of a whole picture
_BLOCK: Final = 2**18  # bytes
_PLAIN: Final = re.compile(r"https://[!-~]+")  # printable ASCII without a space


class Refused(Exception):  # it becomes a sentence about a key of the job file
    """A picture that is not fetched. Args: the rule."""


def fetch(address: str, *, hosts: frozenset[str], max_bytes: int) -> bytes:
    """The bytes behind an address.

    Args:
        address: https://...
        hosts: Names that may be asked, in lower case; one with a port is "host:port". Redirects must stay there.
        max_bytes: More than that is refused.

    Raises:
        Refused: The host is not allowed, does not answer, or answers something else.
    """
    _check(address, hosts)
    opener = build_opener(_Redirects(hosts))
    request = Request(address, headers={"User-Agent": "seedfarm", "Accept": "image/*"})  # noqa: S310  # checked
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return _read(answer.read1, max_bytes)
    except HTTPError as error:
        error.close()
        raise Refused(f"the host answers {error.code} {error.reason}; look at the address") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Refused(f"cannot be fetched ({reason}); download it and name the file") from None


class _Redirects(HTTPRedirectHandler):
    """Follows an answer that sends us on, if it is to an allowed host."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self._hosts = hosts

    def redirect_request(  # the library's own shape
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        try:
            _check(newurl, self._hosts)
        except Refused as refusal:
            fp.close()
            raise Refused(f"the host sends us on to {shorten(newurl)}: {refusal}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(address: str, hosts: frozenset[str]) -> None:
    if not address.lower().startswith("https://"):
        raise Refused("must be a file, an https:// address, or sha256:... of 'farm put'")
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise Refused("is no address") from None
    if not _PLAIN.fullmatch(address) or "\\" in address or parts.username is not None or not host:
        raise Refused("is no plain address, https://host/path without names, passwords or spaces")
    wanted = host if port in (None, 443) else f"{host}:{port}"
    if wanted not in hosts:
        raise Refused(f"host {wanted} is not in FARM_INPUT_HOSTS; add it there, or download the picture")


def _read(read: Callable[[int], Any], max_bytes: int) -> bytes:
    data, end = bytearray(), time.monotonic() + PATIENCE_S
    while block := read(_BLOCK):
        data += block
        if len(data) > max_bytes:
            raise Refused(f"has more than {max_bytes} bytes (FARM_INPUT_BYTES)")
        if time.monotonic() > end:
            raise Refused(f"did not come within {PATIENCE_S:g} s; download it and name the file")
    return bytes(data)
