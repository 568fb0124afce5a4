"""What `--where` selects, on both databases, and what it refuses."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.export.selection.parsing import MAX_DEPTH, parse
from dispatcher.export.selection.tree import All, Compare, Condition, Either, IsNull, Like, Name, Not, OneOf, Truth
from export_desk import ExportDesk
from storage.errors import InvalidSpec, UnknownName, UserError
from storage.sql import Database

_NAMES = st.sampled_from([Name("steps"), Name("prompt"), Name("color", "label"), Name("clip", "score"), Name("a b")])
_VALUES = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)  # fmt: skip
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
_LEAVES = st.one_of(
    st.builds(Compare, _NAMES, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), _VALUES),
    st.builds(OneOf, _NAMES, st.lists(_VALUES, min_size=1, max_size=3).map(tuple)),
    st.builds(Like, _NAMES, _TEXTS, st.booleans()),
    st.builds(IsNull, _NAMES),
    st.builds(Truth, _NAMES),
)
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        inner.filter(lambda tree: not isinstance(tree, Not)).map(Not),
        st.lists(inner.filter(lambda tree: not isinstance(tree, All)), min_size=2, max_size=3).map(tuple).map(All),
        st.lists(inner.filter(lambda tree: not isinstance(tree, Either)), min_size=2, max_size=3)
        .map(tuple).map(Either),
    ),
    max_leaves=8,
)  # fmt: skip


@given(_TREES)
def test_what_is_written_is_what_is_read(tree: Condition) -> None:
    assert parse(_written(tree)) == tree


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with suppress(InvalidSpec):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * (MAX_DEPTH + 1) + "nsfw" + ")" * (MAX_DEPTH + 1),
        "steps in (" + ",".join("1" for _ in range(501)) + ")",
        "nsfw and " * 1000 + "nsfw",
        "not " * 2000 + "steps",
        "prompt = 'a\0b'",
    ],
    ids=["deep", "wide", "long", "negations", "NUL"],
)
def test_what_is_too_large_or_strange_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse(text)


SELECTED: dict[str, set[int]] = {  # number = 4 * seed + row
    "scheduler='ddim' and guidance_scale<8": {0, 4},
    "scheduler = 'ddim' and (guidance_scale < 8 or prompt like '%cat%')": {0, 3, 4, 7},
    "guidance_scale is null": set(),
    "label.color in ('red', 'blue') and prompt like '%fox%'": {0, 4},
    "color = 'it''s; DROP TABLE image; --'": {2, 6},
    "label.year >= 2001": {2, 3, 6, 7},
    "label.year = 2000.0": {0, 4},
    "label.year = 'about 1990'": {1, 5},
    'label."odd name.x" is not null': set(range(8)),
    "prompt like 'A FOX%'": set(),
    "prompt ilike 'A FOX%'": {0, 4},
    "prompt like 'a_fox' or prompt like 'a%bear'": {0, 2, 4, 6},
    r"prompt like '100\%%'": {1, 5},
    "not (prompt like '%fox%')": {1, 2, 3, 5, 6, 7},
    "prompt not like '%fox%' and number < 4": {1, 2, 3},
    "take = 0 and number in (1, 3, 5)": {1, 3, 5},
    "nsfw": {5},
    "not nsfw and nsfw = false and number > 5": {6, 7},
    "score.clip > 0.25 or clip = 0.25": {1, 2},
    "negative_prompt is null and seed = 0": {0, 1, 2, 3},
    "state != 'failed' and width = 64 and batch = 4 and dtype = 'float32'": set(range(8)),
    "steps < 7.5": {0, 4},
    "torch = '2'": set(range(8)),
    "label_color = 'red'": {0, 4},
    "guidance_rescale > 0.4": {3, 7},
    "model like '%m' and seed <> 0": {4, 5, 6, 7},
}


def test_the_images_that_meet_a_condition_are_selected(scene: tuple[ExportDesk, str]) -> None:
    desk, job = scene

    assert {text: selected(desk, job, text) for text in SELECTED} == SELECTED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 'red'", "did you mean 'color'"),
        ("label.colr = 'red'", "did you mean 'color'"),
        ("schedular = 'ddim'", "did you mean 'scheduler'"),
        ("steps > 'many'", "= \"steps > 'many'\": steps holds a number; write it without quotes"),
        ("scheduler = 5", "single quotes"),
        ("prompt < 'b'", "no order"),
        ("steps like '2%'", "only texts"),
        ("steps", "compare it"),
        ("nsfw = 1", "true or false"),
        ("seed = 99999999999999999999", "2**63"),
        ("steps = null", "is null"),
        ("steps >", "expected a number"),
        ("steps between 1 and 5", "expected a comparison"),
        ("lower(prompt) = 'a'", "expected a comparison"),
        ("steps = 4 steps = 5", "expected 'and'"),
        ("prompt = 'open", "never closed"),
        ("prompt = \"a\"", "expected a number or a text"),
        ("1 = 1", "expected the name"),
        ("", "expected the name"),
        ("prompt = 'a'; drop table image", "cannot read"),
        ("prompt = 'a' union select 1", "expected 'and'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_the_next_step(plain: tuple[ExportDesk, str], text: str, said: str) -> None:
    desk, job = plain

    with pytest.raises(UserError) as refused:
        selected(desk, job, text)

    assert said in str(refused.value)


def test_values_and_names_never_become_sql(scene: tuple[ExportDesk, str]) -> None:
    desk, job = scene

    for value in ("'; DROP TABLE image; --", "' OR '1'='1", "\\", "%", '"', "$.x", ":name", "%(x)s", "?"):
        quoted, name = value.replace("'", "''"), value.replace('"', '""')
        assert selected(desk, job, f"prompt = '{quoted}' or label.color = '{quoted}'") == set()
        assert selected(desk, job, f'score."{name}" > 0') == set()
        with pytest.raises(UnknownName):
            selected(desk, job, f"label.\"{name}\" = 'x'")

    assert len(desk.images(job)) == 8


@pytest.fixture
def scene(database: Database, tmp_path: Path) -> tuple[ExportDesk, str]:
    """Eight images with labels, options, scores and flags."""
    rows = [
        {"prompt": "a fox", "steps": 4, "color": "red", "year": "2000", "scheduler": "ddim", "cfg": 7.5,
         "rescale": 0.1},
        {"prompt": "100% wool", "steps": 8, "color": "blue", "year": "about 1990", "scheduler": "ddim", "cfg": 9,
         "rescale": 0.2},
        {"prompt": "a\nbear", "steps": 9, "color": "it's; DROP TABLE image; --", "year": "2001", "scheduler": "euler",
         "cfg": 8, "rescale": 0.3},
        {"prompt": "cat", "steps": 10, "color": "", "year": "2002", "scheduler": "ddim", "cfg": 9, "rescale": 0.5},
    ]  # fmt: skip
    lines = [json.dumps({**row, "odd name.x": "y"}) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    desk = ExportDesk(database, tmp_path)
    keys = {
        "prompt": "prompt",
        "steps": "steps",
        "scheduler": "scheduler",
        "guidance_scale": "cfg",
        "guidance_rescale": "rescale",
    }
    table: dict[str, Any] = {"file": "rows.jsonl", "bind": keys, "labels": ["color", "year", "odd name.x"]}
    job = desk.painted(rows=table, axes={"seed": {"count": 2}}, width=64, height=64)
    desk.change(job, 5, nsfw=True)
    desk.change(job, 1, scores={"clip": 0.25})
    desk.change(job, 2, scores={"clip": 0.5})
    return desk, job


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ExportDesk, str]]:
    tmp_path = tmp_path_factory.mktemp("plain")
    database = Database(f"sqlite:///{tmp_path / 'farm.sqlite'}")
    database.prepare()
    (tmp_path / "rows.csv").write_text("prompt,color\na,red\n")
    desk = ExportDesk(database, tmp_path)
    job = desk.painted(rows={"file": "rows.csv", "bind": {"prompt": "prompt"}, "labels": ["color"]}, axes={"seed": [1]})
    yield desk, job
    database.close()


def selected(desk: ExportDesk, job: str, text: str) -> set[int]:
    from dispatcher.export.selection.conditions import condition
    from dispatcher.export.sources import labels_of, sources_of
    from storage.sql.selecting import candidates

    where = condition(parse(text), labels=labels_of(sources_of(desk.farm, [job])))
    with desk.database.read() as connection:
        return {found.number for found in candidates(connection, job, where=where)}


def _written(tree: Condition) -> str:  # noqa: C901, PLR0911  # one case a kind
    match tree:
        case All(parts):
            return " and ".join(f"({_written(part)})" for part in parts)
        case Either(parts):
            return " or ".join(f"({_written(part)})" for part in parts)
        case Not(part):
            return f"not ({_written(part)})"
        case Compare(name, sign, value):
            return f"{_named(name)} {sign} {_value(value)}"
        case OneOf(name, values):
            return f"{_named(name)} in ({', '.join(map(_value, values))})"
        case Like(name, pattern, any_case):
            return f"{_named(name)} {'ilike' if any_case else 'like'} {_value(pattern)}"
        case IsNull(name):
            return f"{_named(name)} is null"
        case Truth(name):
            return _named(name)


def _named(name: Name) -> str:
    word = name.text if name.text.isidentifier() else f'"{name.text}"'
    return f"{name.space}.{word}" if name.space else word


def _value(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)
