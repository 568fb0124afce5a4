"""Whether a broker may be used: pure rules over its URL, asked once, where settings are read.

Whoever writes into the broker can offer work to every worker and stop every job. So a broker that other machines can
reach has a password, and over TLS its certificate is checked.
"""

from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

SHAPE: Final = "must be redis://[:PASSWORD@]HOST:PORT/DB, the same with rediss:// (TLS), or unix://[:PASSWORD@]/SOCKET"
_SCHEMES: Final = ("redis", "rediss", "unix")
_PORT: Final = 6379


def problem_of(url: str, *, insecure: bool) -> str | None:
    """The rule that a broker's URL breaks, with the next step and without a secret; None: it may be used.

    Args:
        url: As set in FARM_BROKER_URL.
        insecure: Whether FARM_INSECURE_BROKER lets a broker without a password lie elsewhere.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORT
        int(parts.path.strip("/") or 0) if parts.scheme != "unix" else 0
    except ValueError:
        return SHAPE
    words = dict(parse_qsl(parts.query))
    if parts.scheme not in _SCHEMES or "host" in words or (parts.scheme == "unix" and not parts.path.strip("/")):
        return SHAPE
    if insecure or parts.password or words.get("password") or not _is_elsewhere(parts.scheme, host):
        return None
    return (
        f"{host}:{port} is off this machine and its URL has no password, and whoever reaches a broker rules the farm; "
        f"set requirepass there and give {parts.scheme}://:PASSWORD@{host}:{port}/0, "
        "or set FARM_INSECURE_BROKER=yes where nobody else can reach it"
    )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine, told without asking a name server."""
    name = host.lower().removesuffix(".")
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def celery_url(url: str) -> str:
    """The same broker as Celery's library writes it, which reads `unix://` not at all and `rediss://` without a check.

    Without a word on certificates it takes any, and would hand the password to whoever answers.
    """
    parts = urlsplit(url)
    words = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        words["virtual_host"] = words.pop("db", "0")
        return f"redis+socket://{parts.netloc}{parts.path}?{urlencode(words, safe='/')}"
    if parts.scheme != "rediss":
        return url
    checked = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
    if words.get("ssl_cert_reqs", "required") != "required":  # who says so means it
        checked = {}
    return urlunsplit(parts._replace(query=urlencode({**checked, **words}, safe="/")))


def _is_elsewhere(scheme: str, host: str) -> bool:
    return scheme != "unix" and not is_loopback(host)
