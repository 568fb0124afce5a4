"""SQL: one suite over both databases, and the faults that a database has of its own."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select, text

from storage.errors import DatabaseAway, DiskFull, InvalidSetting, SchemaMismatch, UnknownName
from storage.plan import Plan
from storage.spec import ModelFacts, Numbers
from storage.sql import Database, chunks, jobs, leading
from storage.sql.chunks import NewChunk
from storage.sql.jobs import NewJob
from storage.sql.leading import NotLeading
from storage.sql.lookups import model_ids, plan_id, prompt_ids
from storage.sql.tables import SCHEMA_HEAD, attempt, metadata
from storage.states import ChunkState, JobState, Wish

PLAN = Plan(device_type="cpu", dtype="float32", batch=4, threads=1, tf32=False)
FACTS = ModelFacts(digest="sha256:a", family="Fake", width=64, height=64)


def new_job(name: str, *, title: str = "fox", created_at: float = 1.0, images: int = 10) -> NewJob:
    return NewJob(
        id=name, name=title, user="me", source="job.yaml", spec_hash="h", positions=images, images=images,
        created_at=created_at,
    )  # fmt: skip


def add_job(database: Database, name: str, **more: object) -> None:
    with database.write() as connection:
        jobs.add(connection, new_job(name, **more))  # type: ignore[arg-type, unused-ignore]


def add_chunk(database: Database, numbers: range = range(4)) -> chunks.ChunkRow:
    with database.write() as connection:
        plan = plan_id(connection, PLAN)
        new = NewChunk(job="j", kind="render", numbers=Numbers([numbers]), plan=plan, model="m")
        row = chunks.get(connection, "j", chunks.add(connection, new))
    assert row is not None
    return row


def issue(database: Database, row: chunks.ChunkRow, node: str = "n1") -> chunks.ChunkRow | None:
    with database.write() as connection:
        if chunks.issue(connection, row, node=node, boot="b", now=2.0) is None:
            return None
        return chunks.get(connection, row.job, row.number)


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


def test_a_database_of_a_newer_farm_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaMismatch, match="has schema 9999, this farm needs"):
        database.prepare()


def test_a_job_comes_back_as_it_was_stored(database: Database) -> None:
    add_job(database, "j", title="fox-1", images=10**12)

    with database.write() as connection:
        jobs.enter(connection, "j", JobState.RESOLVING)
        jobs.enter(connection, "j", JobState.RUNNING, models={"./m": FACTS.to_json()}, started_at=3.5)
        jobs.freeze_plan(connection, "j", (64, 64), PLAN)
        jobs.freeze_plan(connection, "j", (64, 64), PLAN)

    with database.read() as connection:
        row = jobs.get(connection, "j")
        plans = jobs.plans(connection, ["j"])
    assert (row.state, row.wish, row.images, row.started_at) == (JobState.RUNNING, Wish.RUN, 10**12, 3.5)
    assert row.models == {"./m": FACTS}
    assert plans == {"j": {(64, 64): PLAN}}


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.DONE])
def test_a_job_enters_only_states_that_the_table_allows(database: Database, state: JobState) -> None:
    add_job(database, "j")

    with database.write() as connection:
        entered = jobs.enter(connection, "j", state)

    with database.read() as connection:
        assert jobs.get(connection, "j").state == JobState.QUEUED
    assert not entered


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("@last", "b2", id="last"),
        pytest.param("a1", "a1", id="id"),
        pytest.param("b", "b2", id="prefix"),
        pytest.param("fox", "a2", id="newest of a name"),
        pytest.param("a2", "a2", id="id before another's name"),
    ],
)
def test_a_job_is_found_as_its_user_names_it(database: Database, name: str, found: str) -> None:
    for created_at, (key, title) in enumerate([("a1", "fox"), ("a2", "fox"), ("b2", "a2")]):
        add_job(database, key, title=title, created_at=float(created_at))

    with database.read() as connection:
        assert jobs.find(connection, name).id == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("a", "several ids begin so: a2, a1", id="two ids"),
        pytest.param("fux", "did you mean 'fox'?", id="near"),
        pytest.param("%", "known: fox", id="LIKE's many"),
        pytest.param("_1", "known: fox", id="LIKE's one"),
        pytest.param("\\", "known: fox", id="backslash"),
        pytest.param("a\0", "", id="NUL"),
        pytest.param("\udc80", "", id="no Unicode"),
    ],
)
def test_a_name_that_nothing_carries_is_refused(database: Database, name: str, hint: str) -> None:
    add_job(database, "a1", created_at=1.0)
    add_job(database, "a2", created_at=2.0)

    with database.read() as connection, pytest.raises(UnknownName) as caught:
        jobs.find(connection, name)

    assert hint in str(caught.value)


def test_a_name_is_found_behind_a_hundred_ids_that_begin_so(database: Database) -> None:
    add_job(database, "zz", title="a", created_at=0.0)
    for number in range(100):
        add_job(database, f"a{number:03}", created_at=1.0 + number)

    with database.read() as connection:
        assert jobs.find(connection, "a").id == "zz"


def test_no_jobs_at_all_says_how_to_make_one(database: Database) -> None:
    with database.read() as connection, pytest.raises(UnknownName, match="farm submit"):
        jobs.find(connection, "@last")


def test_a_chunk_goes_its_way_once(database: Database) -> None:
    add_job(database, "j")
    ready = add_chunk(database, range(0, 40, 10))
    issued = issue(database, ready)
    assert issued is not None

    with database.write() as connection:
        again = chunks.issue(connection, ready, node="n2", boot="b", now=2.0)
        finished = [chunks.finish(connection, issued, outcome="recorded", now=3.0) for _ in range(2)]
        late = [chunks.offer_again(connection, issued, why="x", now=4.0), chunks.drop(connection, issued, why="x", now=4.0)]
        row = chunks.get(connection, "j", 0)
        outcomes = connection.execute(select(attempt.c.outcome)).scalars().all()

    assert row is not None
    assert (row.state, row.attempt, row.node, list(row.numbers)) == (ChunkState.DONE, 1, "n1", [0, 10, 20, 30])
    assert row.plan == PLAN
    assert (again, finished, late, outcomes) == (None, [True, False], [False, False], ["recorded"])


def test_an_offer_after_a_loss_is_a_new_attempt_that_remembers_who_lost_it(database: Database) -> None:
    add_job(database, "j")
    first = issue(database, add_chunk(database))
    assert first is not None
    other = add_chunk(database, range(4, 8))

    with database.write() as connection:
        chunks.offer_again(connection, first, why="worker silent", now=3.0)
        ready = chunks.in_state(connection, ChunkState.READY)
        lost = chunks.lost_nodes(connection, ready)
    second = issue(database, ready[0], node="n2")

    assert lost == {first.id: {"n1"}, other.id: set()}
    assert second is not None
    assert second.attempt == 2
    with database.write() as connection:
        assert not chunks.finish(connection, first, outcome="recorded", now=4.0)  # attempt 1 is over


def test_five_thousand_prompts_are_looked_up_at_once(database: Database) -> None:
    texts = [f"prompt {number} 🦊\n'\"%" for number in range(5000)]

    with database.write() as connection:
        first = prompt_ids(connection, texts)
        again = prompt_ids(connection, texts[::-1])

    assert first == again
    assert len(set(first.values())) == 5000


def test_models_of_one_name_are_told_apart_by_their_bytes(database: Database) -> None:
    with database.write() as connection:
        one = model_ids(connection, {"m": ("sha256:a", "F"), "n": ("sha256:a", "F")})
        two = model_ids(connection, {"m": ("sha256:b", "F")})

    assert len({*one.values(), *two.values()}) == 3


def test_a_leader_that_was_replaced_can_change_nothing(database: Database) -> None:
    with database.write() as connection:
        seen = leading.read(connection)
        old = leading.take(connection, seen, holder="one")
        late = leading.take(connection, seen, holder="three")
        new = leading.take(connection, leading.read(connection), holder="two")
    assert old is not None
    assert new is not None

    with pytest.raises(NotLeading), database.write() as connection:
        leading.fence(connection, old)
        jobs.add(connection, new_job("j"))
    with database.write() as connection:
        leading.fence(connection, new)
        leading.give_up(connection, old)

    with database.write() as connection:
        assert leading.read(connection).holder == "two"
        assert jobs.listing(connection) == []
    assert late is None


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
    with pytest.raises(KeyError), database.write() as connection:
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
