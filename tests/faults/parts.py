"""The servers that a farm under fault stands on, each with its own process and its own tap.

Inside pytest they come from the session's fixtures; the chaos program starts its own.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.ministack import install_ministack, start_ministack
from servers.postgres import PostgresServer, find_postgres
from servers.s3 import S3Server
from servers.valkey import ValkeyServer, find_valkey


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """What runs below the farm. Without PostgreSQL it keeps SQLite, without S3 a folder."""

    valkey: ValkeyServer
    postgres: PostgresServer | None = None
    s3: S3Server | None = None


@contextmanager
def own_servers(*, rack: bool = True) -> Iterator[Servers]:
    """Start servers of our own in a temporary folder; `rack` is all three, else the broker alone."""
    folder = Path(tempfile.mkdtemp(prefix="seedfarm-chaos-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    for name in ("valkey", "postgres", "ministack"):
        (folder / name).mkdir()
    valkey = ValkeyServer(find_valkey(), folder / "valkey")
    postgres = PostgresServer(find_postgres(), folder / "postgres") if rack else None
    program = None
    try:
        valkey.start()
        if postgres is not None:
            postgres.start()
        s3 = None
        if rack:
            program, s3 = start_ministack(install_ministack(), folder / "ministack")
            os.environ.update(s3.environment)  # for the stores that this process opens
        yield Servers(valkey=valkey, postgres=postgres, s3=s3)
    finally:
        valkey.kill()
        if postgres is not None:
            postgres.stop()
        if program is not None:
            program.end(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
