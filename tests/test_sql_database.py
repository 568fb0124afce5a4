"""The door to SQL: made by many at once, written by many at once, and the faults that a database has of its own."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from storage.errors import DatabaseAway, DiskFull, InvalidSetting, SchemaMismatch
from storage.sql import Database, images, jobs, leading
from storage.sql.jobs import NewJob
from storage.sql.lookups import prompt_ids
from storage.sql.tables import SCHEMA_HEAD, metadata


def new_job(name: str, *, title: str = "fox", created_at: float = 1.0, images: int = 10) -> NewJob:
    return NewJob(
        id=name, name=title, user="me", source="job.yaml", spec_hash="h", positions=images, images=images,
        created_at=created_at,
    )  # fmt: skip


def add_job(database: Database, name: str, **more: object) -> None:
    with database.write() as connection:
        jobs.add(connection, new_job(name, **more))  # type: ignore[arg-type, unused-ignore]


def test_preparing_twice_changes_nothing(database: Database) -> None:
    add_job(database, "j")

    database.prepare()

    with database.read() as connection:
        assert jobs.get(connection, "j").name == "fox"


def test_several_processes_may_prepare_at_once(database_url: str) -> None:
    script = "import sys; from storage.sql import Database; Database(sys.argv[1]).prepare()"
    command = [sys.executable, "-c", script, database_url]

    starters = [subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1]) for _ in range(3)]
    said = [starter.communicate(timeout=60)[1].decode() for starter in starters]

    assert [starter.returncode for starter in starters] == [0, 0, 0], said


def test_several_threads_may_prepare_at_once(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    ready = threading.Barrier(4)

    def prepare(database: Database) -> None:
        ready.wait()
        database.prepare()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prepare, databases))

    with databases[0].read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [SCHEMA_HEAD]
    for database in databases:
        database.close()


def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "storage/sql/migrations")
    with database.read() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)

    assert differences == []
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_HEAD


OLD_ROWS = (
    """INSERT INTO job (id, name, "user", source, spec_hash, state, wish, positions, images, cursor, chunks, done,
    failed, created_at) VALUES ('j', 'fox', 'me', 'x', 'h', 'done', 'run', 1, 1, 1, 2, 1, 0, 1.0)""",
    "INSERT INTO prompt (id, sha256, text) VALUES (1, 'a', 'a fox')",
    "INSERT INTO model (id, name, digest, family) VALUES (1, './m', 'sha256:a', 'F')",
    "INSERT INTO plan (id, hash, body) VALUES (1, 'p', '{}')",
    "INSERT INTO environment (id, hash, body) VALUES (1, 'e', '{}')",
    "INSERT INTO job_plan (job, width, height, plan) VALUES ('j', 64, 64, 1)",
    """INSERT INTO chunk (job, number, kind, state, attempt, ranges, plan, model, images)
    VALUES ('j', 1, 'render', 'done', 1, '[]', 1, './m', 1)""",
    "INSERT INTO attempt (job, chunk, attempt, node, boot, issued_at) VALUES ('j', 1, 1, 'n1', 'b', 1.5)",
    """INSERT INTO image (job, number, state, prompt, seed, scheduler, steps, guidance_scale, width, height, labels,
    model, plan, environment, recipe_hash, chunk, attempt, run, worker, recorded_at)
    VALUES ('j', 0, 'done', 1, 7, 'ddim', 20, 7.5, 64, 64, '{"kind": "old"}', 1, 1, 1, 'r', 1, 1, 'x', 'n1', 2.0)""",
)


def migrate(database: Database, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "storage/sql/migrations")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_the_first_farms_database_is_upgraded_with_its_rows(database_url: str) -> None:
    database = Database(database_url)
    migrate(database, "0001")
    with database.write() as connection:
        for statement in OLD_ROWS:
            connection.execute(text(statement.replace(":", "\\:")))

    database.prepare()

    with database.write() as connection:
        row = images.get(connection, "j", 0)
        connection.execute(text("UPDATE image SET prompt = NULL, guidance_scale = NULL"))
        silent = images.get(connection, "j", 0)
        attempts = connection.execute(text("SELECT node FROM attempt")).scalars().all()
    assert attempts == ["n1"]  # it names a chunk, whose table was made anew
    assert row is not None
    assert (row.prompt, row.seed, row.guidance_scale, row.labels) == ("a fox", 7, 7.5, {"kind": "old"})
    assert (row.options, row.flags) == ({}, [])
    assert silent is not None
    assert (silent.prompt, silent.guidance_scale) == (None, None)
    database.close()


def test_foreign_keys_count_again_after_an_upgrade(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text("INSERT INTO job_plan (job, width, height, plan) VALUES ('none', 64, 64, 1)"))


def test_a_database_of_a_newer_farm_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaMismatch, match="has schema 9999, this farm needs"):
        database.prepare()


def test_four_threads_that_write_never_find_it_locked(database: Database) -> None:
    add_job(database, "j")

    def work(_: int) -> None:
        for _ in range(15):
            with database.write() as connection:
                leading.read(connection)
                row = connection.execute(select(jobs.job.c.done).with_for_update()).scalar_one()
                jobs.change(connection, "j", done=row + 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    with database.read() as connection:
        assert jobs.get(connection, "j").done == 60


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as connection:  # noqa: PT012  # the whole transaction is the act
        jobs.add(connection, new_job("j"))
        raise KeyError

    with database.read() as connection:
        assert jobs.listing(connection) == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        pytest.param("mysql://u:secret@h/db", InvalidSetting, id="another database"),
        pytest.param("nonsense", InvalidSetting, id="no URL"),
        pytest.param("postgresql+psycopg://u:secret@h:port/db", InvalidSetting, id="no port"),
        pytest.param("postgresql+nothing://u:secret@h/db", InvalidSetting, id="unknown driver"),
        pytest.param("postgresql+psycopg://u:secret@127.0.0.1:1/db", DatabaseAway, id="nobody listens"),
        pytest.param("sqlite:////nowhere/at/all.sqlite", DatabaseAway, id="no folder"),
    ],
)
def test_an_address_that_does_not_work_is_named_without_its_password(url: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        Database(url).prepare()

    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "farm.sqlite").write_bytes(b"not a database at all" * 100)

    with pytest.raises(DatabaseAway, match="not a database"):
        Database(f"sqlite:///{tmp_path / 'farm.sqlite'}").prepare()


def sqlite(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder / 'farm.sqlite'}")
    database.prepare()
    return database


def _read_only(database: Database) -> None:
    with database.read() as connection:
        connection.execute(text("PRAGMA query_only = ON"))


def _one_page_more(database: Database) -> None:
    with database.read() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages + 1}"))


@pytest.mark.parametrize(
    ("spoil", "error"),
    [pytest.param(_read_only, DatabaseAway, id="read only"), pytest.param(_one_page_more, DiskFull, id="disk full")],
)
def test_a_database_that_cannot_be_written_says_so(
    tmp_path: Path, spoil: Callable[[Database], None], error: type[Exception]
) -> None:
    database = sqlite(tmp_path)
    spoil(database)

    with pytest.raises(error), database.write() as connection:
        prompt_ids(connection, ["x" * 10_000 + str(number) for number in range(20)])

    database.close()
