"""Queries: one suite over both databases."""

import pytest
from sqlalchemy import select

from storage.errors import UnknownName
from storage.spec import ModelFacts, Numbers
from storage.spec.plan import Plan
from storage.sql import Database, chunks, jobs, leading
from storage.sql.chunks import NewChunk
from storage.sql.jobs import NewJob
from storage.sql.leading import NotLeading
from storage.sql.lookups import model_ids, plan_id, prompt_ids
from storage.sql.tables import attempt
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
        late = [
            chunks.offer_again(connection, issued, why="x", now=4.0),
            chunks.drop(connection, issued, why="x", now=4.0),
        ]
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

    with pytest.raises(NotLeading), database.write() as connection:  # noqa: PT012  # the whole transaction is the act
        leading.fence(connection, old)
        jobs.add(connection, new_job("j"))
    with database.write() as connection:
        leading.fence(connection, new)
        leading.give_up(connection, old)

    with database.write() as connection:
        assert leading.read(connection).holder == "two"
        assert jobs.listing(connection) == []
    assert late is None
