"""Cells and lines of text: what they say of keys that take numbers, true and false, or nothing at all."""

from pathlib import Path
from typing import Any

import pytest

from spec_files import frozen
from storage.errors import UserError
from storage.spec import Job


def column(folder: Path, key: str, cells: list[str], *, name: str = "t.csv") -> list[Any]:
    """What a row source with one column makes of a key."""
    (folder / name).write_text("\n".join(["x", *cells]) + "\n")
    spec = frozen(folder, rows={"file": name, "bind": {key: "x"}}, axes={"prompt_2": ["a"]})
    return [place.values[key] for place in Job(spec) if place]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize(
    ("key", "cells", "values"),
    [
        pytest.param("watermark", ["true", "False", " TRUE "], [True, False, True], id="switch"),
        pytest.param("steps", ["20", "20.0", "1e2"], [20, 20, 100], id="whole numbers, as pandas writes them too"),
        pytest.param("guidance_scale", ["7", "7.5", "NaN"], [7.0, 7.5, None], id="numbers, and a missing one"),
        pytest.param("cfg_cutoff", ["0.6", "1"], [{"ratio": 0.6}, {"ratio": 1.0}], id="ratio"),
        pytest.param("negative_prompt", ["true", "7"], ["true", "7"], id="texts stay texts"),
    ],
)
def test_a_text_cell_is_what_it_spells_for_its_key(
    tmp_path: Path, key: str, cells: list[str], values: list[Any], name: str
) -> None:
    assert column(tmp_path, key, cells, name=name) == values


def test_an_empty_switch_is_silent(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("caption,mark\na,\nb,true\n")

    spec = frozen(tmp_path, rows={"file": "t.csv", "bind": {"prompt": "caption", "watermark": "mark"}})

    assert [place.values["watermark"] for place in Job(spec) if place] == [None, True]


@pytest.mark.parametrize(
    ("key", "cell", "message"),
    [
        pytest.param("watermark", "1", "t.csv row 1, x = '1': must be true or false", id="no switch"),
        pytest.param("steps", "20.5", "t.csv row 1, x = 20.5: must be a whole number", id="a fraction"),
        pytest.param("seed", "nan", "t.csv row 1, x: is empty, and seed cannot be", id="a missing seed"),
        pytest.param("guidance_scale", "inf", "t.csv row 1, x = inf: must be a finite number", id="infinite"),
    ],
)
def test_a_cell_that_its_key_cannot_take_is_refused(tmp_path: Path, key: str, cell: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        column(tmp_path, key, [cell])

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("key", "text", "values"),
    [
        pytest.param("watermark", "true\nfalse\n", [True, False], id="switches"),
        pytest.param("steps", "20.0\n30\n", [20, 30], id="whole numbers"),
        pytest.param("prompt", "true\n7\n", ["true", "7"], id="texts"),
    ],
)
def test_lines_of_an_axis_read_as_cells_do(tmp_path: Path, key: str, text: str, values: list[Any]) -> None:
    (tmp_path / "lines.txt").write_text(text)

    spec = frozen(tmp_path, axes={key: {"file": "lines.txt"}})

    assert [place.values[key] for place in Job(spec) if place] == values


def test_nan_in_json_is_a_missing_value(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"p": "a", "g": NaN, "n": NaN}\n{"p": "b", "g": 2, "n": 3}\n')
    rows = {"file": "t.jsonl", "bind": {"prompt": "p", "guidance_scale": "g"}, "labels": ["n"]}

    places = [place for place in Job(frozen(tmp_path, rows=rows)) if place]

    assert [(place.values["guidance_scale"], place.labels["n"]) for place in places] == [(None, ""), (2.0, "3")]


def test_a_list_stands_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"p": "a", "size": [1024, 768]}\n')

    spec = frozen(tmp_path, rows={"file": "t.jsonl", "bind": {"prompt": "p", "original_size": "size"}})

    assert [place.values["original_size"] for place in Job(spec) if place] == [[1024, 768]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("t.csv", 'x\na\n"b\nc\n', id="never closed"),
        pytest.param("t.tsv", 'x\na\n"b" c\n', id="closed too early"),
    ],
)
def test_a_quote_that_goes_wrong_is_named_with_its_row(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(UserError) as caught:
        frozen(tmp_path, rows={"file": name, "bind": {"prompt": "x"}})

    assert f"{name}, row 2: not a table: " in str(caught.value)
    assert str(caught.value).endswith("; a quote within a quoted cell is written twice")
