"""One door to SQL for both databases: a transaction is either a reader or a writer, and says so.

SQLite runs in WAL mode, and a writer takes its lock at the start (BEGIN IMMEDIATE): a transaction that reads first and
writes later would fail with "database is locked" whatever the time-out.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError as BadUrl
from sqlalchemy.exc import DatabaseError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from storage.errors import DatabaseAway, DiskFull, InvalidSetting, SchemaMismatch
from storage.settings import Settings, without_password
from storage.sql.tables import SCHEMA_HEAD

BUSY_TIMEOUT_S = 30
_WAL_POLL_S = 0.02
_MIGRATION_LOCK = 5_331_202  # any constant; PostgreSQL's advisory locks are numbers


class Database:
    """SQLite or PostgreSQL by URL. Thread-safe; connections are pooled."""

    def __init__(self, url: str) -> None:
        self.address = without_password(url)
        self._engine = _make_engine(url)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises DatabaseAway."""
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: commits at the end, rolls back on an exception. Raises DatabaseAway, DiskFull."""
        with self._transaction(farm_write=True) as connection:
            yield connection

    def prepare(self) -> None:
        """Create or upgrade the tables where they are missing or older. Safe to call from several processes at once.

        Raises:
            DatabaseAway: It does not answer.
            SchemaMismatch: A newer farm made these tables.
        """
        with self.read() as connection:
            if self._version(connection) == SCHEMA_HEAD:
                return
        try:
            with self._transaction(farm_write=True, farm_upgrade=True) as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                found = self._version(connection)
                if found != SCHEMA_HEAD:
                    self._upgrade(connection, found)
        finally:
            self._engine.dispose()  # on SQLite that connection does not check foreign keys

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _version(self, connection: Connection) -> str | None:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def _upgrade(self, connection: Connection, found: str | None) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError:
            raise SchemaMismatch(self.address, found, SCHEMA_HEAD) from None

    @contextmanager
    def _transaction(self, **options: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except OperationalError as error:
            raise self._explain(error) from error
        except DBAPIError as error:
            if error.connection_invalidated or type(error) is DatabaseError:  # so SQLite says "not a database"
                raise self._explain(error) from error
            raise

    def _explain(self, error: DBAPIError) -> DatabaseAway | DiskFull:
        reason = str(error.orig).strip().splitlines()[0]
        if "disk is full" in reason or "No space left" in reason:
            return DiskFull(self.address)
        return DatabaseAway(self.address, reason)


def open_database(settings: Settings) -> Database:
    """The farm's database, its tables in place. Raises DatabaseAway, SchemaMismatch, InvalidSetting."""
    if settings.database_url is None:
        try:
            settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSetting("FARM_HOME", str(settings.home), f"cannot be created: {error.strerror}") from None
    database = Database(settings.database_address)
    database.prepare()
    return database


def _make_engine(url: str) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=True, **_options(url))
    except (BadUrl, NoSuchModuleError, SQLAlchemyError, ImportError, ValueError):
        rule = "must be sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
        raise InvalidSetting("FARM_DATABASE_URL", without_password(url), rule) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}}
    return {"connect_args": {"connect_timeout": 5}, "pool_size": 5, "max_overflow": 5}


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions of its own
    _enter_wal(connection)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _enter_wal(connection: Any) -> None:
    """Switch the file to WAL. SQLite does not wait for its lock here, whatever the time-out: we do."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_POLL_S)
        else:
            return


def _on_sqlite_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("farm_upgrade"):  # SQLite alters a table by making another one and dropping it, to which rows refer
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # without effect once it has begun
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("farm_write") else "BEGIN")
