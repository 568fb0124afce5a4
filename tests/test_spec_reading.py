# ruff: noqa: PT017  # a table of cases reads best with one case a line
"""A job file from its bytes: every fault gives one clear line in the file's own key paths, and never a traceback."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec_files import PLAIN, frozen_file
from storage.errors import InvalidSpec, UnreadableFile, UserError, shorten
from storage.spec import Job
from storage.spec.fields import FIELDS

BOMB = "".join(f"a{level}: &b{level} [{','.join([f'*b{level - 1}'] * 9)}]\n" for level in range(1, 12))
MERGES = "".join(f"a{level}: &b{level} {{<<: [{','.join([f'*b{level - 1}'] * 9)}]}}\n" for level in range(1, 12))

FAULTS = [
    pytest.param("stepz: 3", "stepz = 3: unknown key; did you mean 'steps'?", id="unknown key"),
    pytest.param("steps: true", "steps = True: must be a whole number", id="boolean for a number"),
    pytest.param("steps: 3.0", "steps = 3.0: must be a whole number", id="float for a whole number"),
    pytest.param("steps: 0", "steps = 0: must be at least 1", id="below the range"),
    pytest.param("steps: 1001", "steps = 1001: must be at most 1000", id="above the range"),
    pytest.param(
        "seed: 9223372036854775808", "seed = 9223372036854775808: must be below 9223372036854775808", id="seed"
    ),
    pytest.param("seed: 0x" + "f" * 6000, "seed = a number of thousands of digits: must be below", id="giant number"),
    pytest.param("guidance_scale: .nan", "guidance_scale = nan: must be a finite number", id="nan"),
    pytest.param("guidance_scale: .inf", "guidance_scale = inf: must be", id="infinity"),
    pytest.param("height: 500", "height = 500: must be divisible by 8", id="size off the grid"),
    pytest.param("name: 2024-01-01", "name = datetime.date(2024, 1, 1): must be text; put it in quotes", id="date"),
    pytest.param("mode: img2img", "mode = 'img2img': must be 'text-to-image'", id="mode"),
    pytest.param("output: {format: jpg}", "output.format = 'jpg': must be 'png'", id="format"),
    pytest.param("plan: {bacth: 3}", "plan.bacth = 3: unknown key; did you mean 'batch'?", id="unknown pin"),
    pytest.param("previews: {every: 0}", "previews.every = 0: must be at least 1", id="previews"),
    pytest.param("axes: [1]", "axes = [1]: must be a mapping", id="axes as a list"),
    pytest.param("axes: {seed: []}", "axes.seed = []: must not be empty", id="empty axis"),
    pytest.param("axes: {sed: [1]}", "axes.sed = 'sed': unknown axis; did you mean 'seed'?", id="unknown axis"),
    pytest.param("axes: {seed: [1, x]}", "axes.seed[1] = 'x': must be a whole number", id="bad axis value"),
    pytest.param(
        "axes: {seed: {cout: 3}}", "axes.seed = {'cout': 3}: must be a list, or a mapping", id="no form of axis"
    ),
    pytest.param("axes: {seed: {cout: 3}}", "did you mean 'count'?", id="nearest form of axis"),
    pytest.param(
        "axes: {seed: {count: 3, strat: 1}}", "axes.seed.strat = 1: unknown key; did you mean 'start'?", id="range"
    ),
    pytest.param("axes: {seed: {derive: 2, over: 3}}", "axes.seed.over = 3: must be a list", id="path inside a form"),
    pytest.param("zip: [{seed: {derive: 2, over: 3}}]", "zip[0].seed.over = 3: must be a list", id="path inside a zip"),
    pytest.param("axes: {seed: {start: 3}}", "axes.seed.count: missing; it must be given", id="missing key of a form"),
    pytest.param("axes: {seed: {count: 0}}", "axes.seed.count = 0: must be at least 1", id="empty range"),
    pytest.param("rows: {fle: x}", "rows.fle = 'x': unknown key; did you mean 'file'?", id="unknown key of rows"),
    pytest.param("rows: {file: x.csv}", "rows.bind: missing; it must be given", id="missing key of rows"),
    pytest.param("exclude: {a: 1}", "exclude = {'a': 1}: must be a list", id="exclude as a mapping"),
    pytest.param("1: 2", "1 = 1: keys must be text; put it in quotes", id="number as key"),
    pytest.param("axes: {1: [2]}", "axes.1 = 1: must be text; put it in quotes", id="number as axis"),
]


@pytest.mark.parametrize(("lines", "message"), FAULTS)
def test_a_fault_names_the_key_the_value_and_the_rule(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen_file(tmp_path, f"{PLAIN}{lines}\n")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", ": is empty; 'farm init' prints", id="empty"),
        pytest.param("- 1\n", "must hold a mapping of keys, not a list", id="list"),
        pytest.param("3\n", "must hold a mapping of keys, not a int", id="number"),
        pytest.param(b"\xff\xfe\x00", "is not UTF-8 text (byte 0)", id="not UTF-8"),
        pytest.param("model: ./m\na: [\n", "line 3, column 1: not YAML:", id="syntax"),
        pytest.param(
            "model: ./m\nsteps: 3\nsteps: 4\n", "line 3, column 1: not YAML: key 'steps' given twice", id="twice"
        ),
        pytest.param(
            "axes:\n  seed: [1]\n  seed: [2]\n", "line 3, column 3: not YAML: key 'seed' given twice", id="deeper"
        ),
        pytest.param("seed: " + "9" * 5000, "not YAML: Exceeds the limit", id="too many digits"),
        pytest.param("name: 2024-13-45", "not YAML: month must be in 1..12", id="no date"),
        pytest.param("? [1]\n: 2\n", "not YAML: found unhashable key", id="list as key"),
        pytest.param("prompt: *nope\n", "not YAML: found undefined alias 'nope'", id="undefined alias"),
        pytest.param(
            "a: !!python/object:os.system {}\n", "not YAML: could not determine a constructor", id="python tag"
        ),
        pytest.param("[" * 1200, "not YAML: nested deeper than 64 levels", id="deep"),
        pytest.param("a0: &b0 [x]\n" + BOMB, "aliases and merges unpack to more than 1000000 values", id="alias bomb"),
        pytest.param("b0: &b0 {x: 1}\n" + MERGES, "unpack to more than 1000000 values", id="merge bomb"),
        pytest.param("exclude: &e [*e]", "an alias that stands for what it is part of", id="list that holds itself"),
    ],
)
def test_a_file_that_is_no_job_file_is_refused_with_its_place(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        frozen_file(tmp_path, text)

    assert message in str(caught.value)
    assert str(tmp_path / "job.yaml") in str(caught.value)


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    from storage.spec import read_job_file

    with pytest.raises(UnreadableFile, match=r"nope\.yaml: no such file"):
        read_job_file(tmp_path / "nope.yaml")


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        pytest.param("steps=7", "steps", 7, id="number"),
        pytest.param(" steps =7", "steps", 7, id="blanks"),
        pytest.param("prompt=a=b", "prompt", "a=b", id="equals sign in the value"),
        pytest.param("steps=", "steps", 30, id="silent again"),
        pytest.param("scheduler={name: euler}", "scheduler", {"name": "euler", "options": {}}, id="mapping"),
        pytest.param("scheduler.name=euler", "scheduler", {"name": "euler", "options": {}}, id="path"),
    ],
)
def test_set_changes_one_key(tmp_path: Path, change: str, key: str, value: object) -> None:
    spec = frozen_file(tmp_path, PLAIN, changes=(change,))

    assert spec.fixed[key] == value


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("steps", id="no value"),
        pytest.param("=3", id="no key"),
        pytest.param("axes..seed=3", id="empty part"),
        pytest.param("prompt.x=3", id="below a text"),
        pytest.param("stepz=3", id="unknown key"),
        pytest.param("steps=[", id="no YAML"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(UserError):
        frozen_file(tmp_path, PLAIN, changes=(change,))


def test_set_changes_one_place_of_an_aliased_mapping(tmp_path: Path) -> None:
    text = "model: ./m\naxes: {prompt: &t {template: '{x}', values: {x: [a, b]}}}\nzip: [{negative_prompt: *t}]\n"

    with pytest.raises(InvalidSpec, match="label x"):  # two axes, one label
        frozen_file(tmp_path, text)
    spec = frozen_file(tmp_path, text, changes=("axes.prompt.template='{y}'", "axes.prompt.values={y: [c]}"))

    assert [len(dimension) for dimension in spec.dimensions] == [1, 2]


def test_anchors_and_merge_keys_are_understood(tmp_path: Path) -> None:
    text = PLAIN + "axes:\n  scheduler:\n  - &e {name: euler, sigma_min: 0.1}\n  - {<<: *e, sigma_min: 0.2}\n"

    job = Job(frozen_file(tmp_path, text))

    assert [place.values["scheduler"]["options"] for place in job if place] == [{"sigma_min": 0.1}, {"sigma_min": 0.2}]


def test_every_recipe_key_may_stand_in_a_job_file() -> None:
    from storage.spec import JobFile

    assert set(FIELDS) <= set(JobFile.model_fields)


@pytest.mark.parametrize(
    "value",
    [pytest.param(16**6000, id="giant"), pytest.param("x" * 10**6, id="long"), pytest.param([[[[[1]]]]], id="deep")],
)
def test_any_value_is_shown_on_one_short_line(value: object) -> None:
    shown = shorten(value)

    assert len(shown) <= 60


_keys = st.sampled_from(["model", "prompt", "axes", "zip", "rows", "exclude", "seed", "scheduler", "steps", "plan"])
_inner = st.sampled_from(
    ["count", "derive", "over", "template", "values", "file", "name", "bind", "labels", "seed", "x"]
)
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3) | st.dates()
)
_trees = st.recursive(
    _scalars,
    lambda deeper: (
        st.lists(deeper, max_size=3) | st.dictionaries(_inner | _keys | st.integers(0, 2), deeper, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.dictionaries(_keys, _trees, max_size=5))
def test_junk_never_raises_anything_but_a_user_error(tmp_path: Path, entries: dict[str, object]) -> None:
    import yaml

    text = yaml.safe_dump({"model": "./m", "prompt": "a", **entries}, allow_unicode=False)

    try:
        job = Job(frozen_file(tmp_path, text))
        assert job.images >= 1
        assert len(job.spec.hash) == 64
    except UserError as error:
        assert str(error)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("{}[]:,&*!|>'\"%@` -\n\t#abc01.\\~", max_size=40) | st.text(max_size=20))
def test_junk_text_never_raises_anything_but_a_user_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        frozen_file(tmp_path, text.encode(errors="surrogatepass"))
