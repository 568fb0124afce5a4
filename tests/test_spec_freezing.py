# a table of cases reads best with one case a line
"""From a checked job file to a frozen spec: files read, values checked, contradictions refused."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec_files import PLAIN, frozen, frozen_file
from storage.errors import InvalidSpec, UnreadableFile, UserError
from storage.spec import Job

FAULTS = [
    pytest.param({"scheduler": "eulr"}, "scheduler = 'eulr': unknown scheduler; did you mean 'euler'?", id="scheduler"),
    pytest.param(
        {"scheduler": {"name": "euler", "use_karas_sigmas": True}},
        "scheduler.use_karas_sigmas = True: unknown option of euler; did you mean 'use_karras_sigmas'?",
        id="option",
    ),
    pytest.param(
        {"scheduler": {"name": "euler", "sigma_min": float("nan")}}, "sigma_min = nan: must be a finite", id="nan"
    ),
    pytest.param({"scheduler": {"name": "euler", "sigma_min": [1]}}, "scheduler.sigma_min = [1]: must be a", id="list"),
    pytest.param(
        {"axes": {"scheduler": ["ddim", "x"]}}, "axes.scheduler[1] = 'x': unknown scheduler", id="axis of them"
    ),
    pytest.param(
        {"axes": {"seed": {"count": 10**12}}}, "axes = 1000000000000: images in one job; the cap is", id="too many"
    ),
    pytest.param({"axes": {"seed": {"start": -1, "count": 3}}}, "axes.seed = -1: must be at least 0", id="range below"),
    pytest.param(
        {"axes": {"seed": {"start": 2**63 - 2, "count": 3}}}, "must be below 9223372036854775808", id="range above"
    ),
    pytest.param(
        {"axes": {"width": {"start": 64, "count": 2}}}, "axes.width = 65: must be divisible by 8", id="range off"
    ),
    pytest.param({"axes": {"prompt": {"count": 2}}}, "axes.prompt = {'count': 2", id="range of texts"),
    pytest.param({"axes": {"steps": {"derive": 2}}}, "axes.steps = 2: only seeds can be derived", id="derived steps"),
    pytest.param(
        {"axes": {"seed": {"derive": 2, "over": ["promt"]}}},
        "axes.seed.over[0] = 'promt': unknown recipe key; did you mean 'prompt'?",
        id="derived over what",
    ),
    pytest.param({"seed": 1, "axes": {"seed": [1]}}, "seed = 1: is also an axis; keep one of the two", id="twice"),
    pytest.param(
        {"axes": {"seed": [1]}, "zip": [{"seed": [1]}]}, "seed = 'two axes': must be bound once", id="two axes"
    ),
    pytest.param(
        {"zip": [{"seed": [1, 2], "steps": [1]}]}, "zip[0] = {'seed': 2, 'steps': 1}: must hold", id="zip lengths"
    ),
    pytest.param({"zip": [{}]}, "zip[0] = {}: must hold axes of one length", id="empty zip"),
    pytest.param({"exclude": [{"foo": 1}]}, "exclude[0].foo = 1: not an axis or label of this job", id="exclude what"),
    pytest.param(
        {"axes": {"seed": {"derive": 2}}, "exclude": [{"seed": 0}]},
        "exclude[0].seed = 0: seeds are derived in this job; exclude by other keys",
        id="exclude a derived seed",
    ),
    pytest.param({"exclude": [{}]}, "exclude[0] = {}: must name at least one axis", id="exclude nothing"),
    pytest.param(
        {"axes": {"seed": [1, 2]}, "exclude": [{"seed": []}]}, "exclude[0].seed = []: must not be", id="no values"
    ),
    pytest.param({"axes": {"seed": [1]}, "exclude": [{"seed": 1}]}, "exclude: leaves none of 1 images", id="all of it"),
    pytest.param(
        {"axes": {"seed": [1]}, "exclude": [{"seed": "x"}]}, "exclude[0].seed = 'x': must be a whole", id="bad value"
    ),
    pytest.param({"prompt": "\ud800"}, "prompt = '\\ud800': must be valid Unicode", id="half a surrogate pair"),
    pytest.param({"prompt": "a\0b"}, "prompt = 'a\\x00b': must not hold a NUL character", id="NUL"),
    pytest.param({"prompt": "é" * 40_000}, "must be at most 65536 bytes (it has 80000)", id="80 kB"),
    pytest.param({"model": "./nope"}, "model = './nope': no such name in 'farm model ls', no folder", id="no folder"),
    pytest.param({"model": "nope"}, "model = 'nope': no such name in", id="neither folder nor hub id"),
    pytest.param({"model": "~nobody-here/x"}, "cannot be looked up", id="nobody's home"),
    pytest.param({"model": "x" * 300}, "cannot be looked up", id="long name"),
]


@pytest.mark.parametrize(("entries", "message"), FAULTS)
def test_a_fault_names_the_key_the_value_and_the_rule(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        frozen(tmp_path, **entries)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("silent", "message"), [("model", "model: missing; give it"), ("prompt", "prompt: missing; give it")]
)
def test_a_job_must_say_its_model_and_its_prompt(tmp_path: Path, silent: str, message: str) -> None:
    text = "\n".join(line for line in PLAIN.splitlines() if not line.startswith(silent))

    with pytest.raises(InvalidSpec, match=message):
        frozen_file(tmp_path, text)


TEMPLATES = [
    pytest.param("a {x} {y}", {"x": ["1"]}, "axes.prompt.template = 'a {x} {y}': values has no 'y'", id="missing"),
    pytest.param(
        "a {x}", {"x": ["1"], "y": ["1"]}, "axes.prompt.values.y = ['1']: the template has no {y}", id="unused"
    ),
    pytest.param("a {x", {"x": ["1"]}, "axes.prompt.template = 'a {x': expected '}'", id="open brace"),
    pytest.param("a {}", {"x": ["1"]}, "must be a plain name; write {{ and }}", id="no name"),
    pytest.param("a {x.real}", {"x": ["1"]}, "{x.real} must be a plain name", id="attribute"),
    pytest.param("a {x:5}", {"x": ["1"]}, "{x:5} must be a plain name", id="format"),
    pytest.param("a {x}", {"x": []}, "axes.prompt.values.x = []: must not be empty", id="empty"),
    pytest.param(
        "a {x}", {"x": [True]}, "axes.prompt.values.x[0] = True: must be text; put it in quotes", id="boolean"
    ),
    pytest.param(
        "a {x}", {"x": ["a\0", "longer"]}, "axes.prompt.values.x[0] = 'a\\x00': must not hold a NUL", id="NUL"
    ),
    pytest.param(
        "a {x}", {"x": ["\ud800", "long"]}, "axes.prompt.values.x[0] = '\\ud800': must be valid", id="surrogate"
    ),
    pytest.param("{x}{x}", {"x": ["é" * 20_000, "a" * 30_000]}, "must be at most 65536 bytes", id="longest by bytes"),
    pytest.param(
        "{seed}", {"seed": ["1"]}, "label seed = 'seed': must differ from recipe keys", id="recipe key as label"
    ),
    pytest.param(
        "{number}", {"number": ["1"]}, "label number = 'number': must differ", id="word of file names as label"
    ),
]


@pytest.mark.parametrize(("template", "values", "message"), TEMPLATES)
def test_a_template_must_be_filled_exactly(tmp_path: Path, template: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen(tmp_path, axes={"prompt": {"template": template, "values": values}})

    assert message in str(caught.value)


def test_two_parts_of_a_zip_cannot_share_a_label(tmp_path: Path) -> None:
    one, two = ({"template": "{x}", "values": {"x": [word, "b"]}} for word in ("a", "c"))

    with pytest.raises(InvalidSpec, match="label x"):
        frozen(tmp_path, zip=[{"prompt": one, "negative_prompt": two}])


def test_a_seed_beside_derived_seeds_is_their_base_even_in_a_zip(tmp_path: Path) -> None:
    spec = frozen(tmp_path, seed=7, zip=[{"seed": {"derive": 2}, "steps": [1, 2]}])

    assert spec.to_json()["dimensions"][0]["parts"][0]["job_seed"] == 7


TABLES = [
    pytest.param(
        "t.csv", "p,s\na,1\n", {"prompt": "q"}, "rows.bind.prompt = 'q': no such column in t.csv", id="column"
    ),
    pytest.param(
        "t.csv", "p,s\na,1\nb,x\n", {"prompt": "p", "seed": "s"}, "t.csv row 2, s = 'x': must be a whole", id="cell"
    ),
    pytest.param("t.csv", "p,s\na,\n", {"seed": "s"}, "t.csv row 1, s: is empty, and seed cannot be", id="empty cell"),
    pytest.param("t.csv", "p,s\na\n", {"seed": "s"}, "t.csv row 1, s: is empty, and seed cannot be", id="short row"),
    pytest.param(
        "t.csv", "p,s\na,b,c\n", {"prompt": "nope"}, "row 1: has more cells than the 2 columns", id="long row"
    ),
    pytest.param("t.csv", "p,p\na,b\n", {"prompt": "p"}, "has two columns of one name: p, p", id="column twice"),
    pytest.param("t.csv", 'p\n"a\n', {"prompt": "p"}, "t.csv, row 1: not a table: unexpected end", id="open quote"),
    pytest.param("t.csv", "p\n", {"prompt": "p"}, "rows.file = 't.csv': holds no rows", id="no rows"),
    pytest.param("t.csv", b"p\n\xff\n", {"prompt": "p"}, "is not UTF-8 text (byte 2)", id="not UTF-8"),
    pytest.param("t.txt", "p\n", {"prompt": "p"}, "rows.file = 't.txt': must end in .csv, .tsv, .jsonl", id="suffix"),
    pytest.param("t.jsonl", '{"p": 1}\n', {"prompt": "p"}, "t.jsonl row 1, p = 1: must be text", id="number as text"),
    pytest.param("t.jsonl", '{"s": true}\n', {"seed": "s"}, "t.jsonl row 1, s = True: must be a whole", id="boolean"),
    pytest.param("t.jsonl", '{"g": Infinity}\n', {"guidance_scale": "g"}, "g = inf: must be a finite number", id="inf"),
    pytest.param("t.jsonl", '{"p": "\\ud800"}\n', {"prompt": "p"}, "must be valid Unicode", id="surrogate"),
    pytest.param("t.jsonl", "\n{\n", {"prompt": "p"}, "t.jsonl, line 2: not JSON: Expecting property", id="not JSON"),
    pytest.param("t.jsonl", "[1]\n", {"prompt": "p"}, "t.jsonl, line 1: must be a JSON object", id="no object"),
    pytest.param("t.jsonl", "[" * 100_000, {"prompt": "p"}, "line 1: not JSON", id="deep"),
    pytest.param("t.csv", "p\na\n", {"promt": "p"}, "unknown recipe key; did you mean 'prompt'?", id="recipe key"),
]


@pytest.mark.parametrize(("name", "text", "bind", "message"), TABLES)
def test_a_bad_table_names_its_row(
    tmp_path: Path, name: str, text: str | bytes, bind: dict[str, str], message: str
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(UserError) as caught:
        frozen(tmp_path, rows={"file": name, "bind": bind})

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param(["group", "group"], "rows.labels[0] = 'group': given twice", id="twice"),
        pytest.param(
            ["grup"], "rows.labels[0] = 'grup': no such column in t.jsonl; did you mean 'group'?", id="unknown"
        ),
        pytest.param(["seed"], "label seed", id="recipe key"),
        pytest.param(["bad"], "t.jsonl row 1, bad", id="half a surrogate pair"),
    ],
)
def test_labels_must_be_columns_with_names_of_their_own(tmp_path: Path, labels: list[str], message: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"p": "a", "group": "x", "seed": 1, "bad": "\\ud800"}\n')

    with pytest.raises(InvalidSpec) as caught:
        frozen(tmp_path, rows={"file": "t.jsonl", "bind": {"prompt": "p"}, "labels": labels})

    assert message in str(caught.value)


def test_a_row_binds_keys_and_labels_together(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('p,n,s,group\n"a, b",,3,x\nc,blur,4,\n')
    bind = {"prompt": "p", "negative_prompt": "n", "seed": "s"}

    job = Job(frozen(tmp_path, rows={"file": "t.csv", "bind": bind, "labels": ["group"]}))

    rows = [(place.values["prompt"], place.values["negative_prompt"], place.values["seed"]) for place in job if place]
    assert rows == [("a, b", None, 3), ("c", "blur", 4)]
    assert [dict(place.labels) for place in job if place] == [{"group": "x"}, {"group": ""}]


@pytest.mark.parametrize("file", ["nope.txt", "a\0b.txt", "\ud800.txt", "x" * 300, "."])
def test_a_source_file_that_cannot_be_read_is_named(tmp_path: Path, file: str) -> None:
    with pytest.raises(UnreadableFile):
        frozen(tmp_path, axes={"prompt": {"file": file}})


def test_a_line_of_a_file_is_one_prompt_whatever_it_holds(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\ufeffone\u2028still one\r\n\n two \n\x0cthree\n", encoding="utf-8")

    job = Job(frozen(tmp_path, axes={"prompt": {"file": "p.txt"}}))

    assert [place.values["prompt"] for place in job if place] == ["one\u2028still one", " two ", "\x0cthree"]


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("", id="empty"),
        pytest.param("a\nb\r\n\tc", id="newlines"),
        pytest.param("🦊‍ 日本 \u202e", id="emoji"),
        pytest.param("x" * 10_000, id="10 kB"),
        pytest.param("{braces} %s \\ '\"", id="signs"),
    ],
)
def test_a_prompt_is_kept_to_the_letter(tmp_path: Path, prompt: str) -> None:
    job = Job(frozen(tmp_path, axes={"prompt": [prompt]}))

    place = job[0]

    assert place is not None
    assert place.values["prompt"] == prompt


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=1, max_size=4)
)
def test_a_template_gives_every_text_with_its_label(tmp_path: Path, words: list[str]) -> None:
    axis = {"template": "a {{b}} {x}", "values": {"x": words}}

    job = Job(frozen(tmp_path, axes={"prompt": axis}))

    assert [place.values["prompt"] for place in job if place] == [f"a {{b}} {word}" for word in words]
    assert [place.labels["x"] for place in job if place] == words


def test_a_job_far_over_the_cap_is_refused_at_once(tmp_path: Path) -> None:
    seeds, words = {"count": 10**15}, {name: [str(n) for n in range(1000)] for name in "abcde"}
    began = time.process_time()

    with pytest.raises(InvalidSpec, match="images in one job"):
        frozen(tmp_path, axes={"seed": seeds, "prompt": {"template": "{a}{b}{c}{d}{e}", "values": words}})

    assert time.process_time() - began < 1


def test_minus_zero_is_zero(tmp_path: Path) -> None:
    assert str(frozen(tmp_path, guidance_scale=-0.0).fixed["guidance_scale"]) == "0.0"


@pytest.mark.parametrize(
    ("axes", "values"),
    [
        pytest.param({"clip_skip": {"count": 3}}, [0, 1, 2], id="range of layers"),
        pytest.param({"prompt_2": {"template": "a {x}", "values": {"x": ["b", "c"]}}}, ["a b", "a c"], id="template"),
        pytest.param({"dynamic_guidance": [None, [[0, 7], [0.5, 3]]]}, [None, [[0.0, 7.0], [0.5, 3.0]]], id="pieces"),
    ],
)
def test_every_key_may_be_an_axis_of_the_form_that_fits_it(
    tmp_path: Path, axes: dict[str, Any], values: list[Any]
) -> None:
    job = Job(frozen(tmp_path, axes=axes))

    assert [place.values[next(iter(axes))] for place in job if place] == values


def test_a_place_is_excluded_by_any_spelling_of_a_value(tmp_path: Path) -> None:
    axes = {"loras": [[], "./m", {"model": "./m", "scale": 0.5}]}

    job = Job(frozen(tmp_path, axes=axes, exclude=[{"loras": [{"model": "./m", "scale": 1}]}]))

    assert [place is None for place in job] == [False, True, False]
    assert job.images == 2
