"""`farm export --no-prompts`: a data set of which no file says a prompt, or a word that one was made of."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dispatcher.export.options import ExportOptions
from dispatcher.export.pictures import finishing_of
from dispatcher.export.sources import sources_of
from dispatcher.export.withholding import unnamed, withheld_of
from every_word import words_of
from export_desk import ExportDesk, hashes, opened_desk, picture, rejected, table
from storage.errors import InvalidSpec
from storage.marks.embed import encode
from storage.marks.record import Marks
from storage.spec.encoding import Encoding
from typed import typed

LAYOUTS = ["webdataset", "imagefolder", "parquet", "folder"]
SECRET = "xyzzy"
ROWS = (
    {"text": "a fox named Xyzzy\nNegative prompt: 'xyzzy' \"🦊\" | <b>", "not": "xyzzy, blurry", "animal": "fox"},
    {"text": "xyzzy", "not": "", "animal": "hare"},
    {"text": "owl " * 900 + "xyzzy", "not": "grey", "animal": "owl"},
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ExportDesk]:
    with opened_desk(tmp_path) as desk:
        yield desk


def secretive(desk: ExportDesk) -> str:
    """A job of rows, whose name, label `title`, source and a failure tell prompts too."""
    told = [{**row, "title": f"Title: {row['text']}"} for row in ROWS]
    (desk.folder / "xyzzy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    rows = {"file": "xyzzy.jsonl", "bind": {"prompt": "text", "negative_prompt": "not"}, "labels": ["animal", "title"]}
    job = desk.painted(
        name="xyzzy", rows=rows, axes={"scheduler": ["ddim", "euler_a"]}, prompt_2="xyzzy twice", fail=[3],
        embeddings=[{"model": "owner/toy", "token": "<xyzzy>"}],
    )  # fmt: skip
    desk.change(job, 3, detail="one is too long: 'a fox named xyzzy'")
    desk.change(job, 4, rejected="near_duplicate of 1")
    mark(desk, job)
    return job


def templated(desk: ExportDesk) -> str:
    """A job of templates, with words of lists, alternatives and a folder."""
    (desk.folder / "wild" / "xyzzy").mkdir(parents=True)
    (desk.folder / "wild" / "xyzzy" / "colour.txt").write_text("xyzzy red\nxyzzy blue\n")
    template = "a {xyzzy_size} __xyzzy/colour__ {fox|xyzzy hare}"
    prompt = {"template": template, "values": {"xyzzy_size": ["big", "xyzzy"]}, "wildcards": "wild"}
    job = desk.painted(
        name="colours", axes={"prompt": prompt, "seed": {"derive": 1}}, negative_prompt="xyzzy, not this",
        callbacks=[{"name": "drift", "options": {"say": "xyzzy"}}],
    )  # fmt: skip
    mark(desk, job)
    return job


def mark(desk: ExportDesk, job: str) -> None:
    """Let every picture say its recipe, as those of workers do."""
    source, row = desk.spec(desk.job(job)), desk.job(job)
    for number, image in desk.images(job).items():
        place = source[number]
        if image.key is not None and place is not None:
            marks = Marks(recipe=source.recipe(place, row.models or {}), plan=image.plan, libraries={})
            with Image.open(io.BytesIO(picture(image.recipe_hash))) as drawn:
                data = encode(drawn.convert("RGB"), Encoding("png"), marks=marks)
            desk.paint_one(image, data)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_file_says_a_prompt_and_with_prompts_many_do(desk: ExportDesk, tmp_path: Path, layout: str) -> None:
    jobs = [secretive(desk), templated(desk)]
    where = "prompt like '%xyzzy%' or label.animal = 'xyzzy' or steps > 0"

    desk.export(tmp_path / "out", *jobs, format=layout, prompts=False, where=where, split_by="prompt", shard_images=4)
    desk.export(tmp_path / "told", *jobs, format=layout, where=where, split_by="prompt", shard_images=4)

    said, told = list(words_of(tmp_path / "out")), list(words_of(tmp_path / "told"))
    assert [place for place, text in said if SECRET in text.casefold()] == []
    assert len({place.split(":")[0] for place, text in told if SECRET in text.casefold()}) > 5
    assert len(table(tmp_path / "out")) == len(table(tmp_path / "told")) == 12


def test_rows_keep_everything_else(desk: ExportDesk, tmp_path: Path) -> None:
    job = secretive(desk)

    desk.export(tmp_path / "out", job, prompts=False)
    desk.export(tmp_path / "told", job)

    hidden = {"prompt", "options", "recipe", "labels", "job_name", "sha256_exported"}
    for row, told in zip(table(tmp_path / "out"), table(tmp_path / "told"), strict=True):
        assert {name for name in row if row[name] != told[name]} - {"negative_prompt"} == hidden
        assert set(told) - set(row) == {"label_title"}
        assert row["label_animal"] == json.loads(row["labels"])["animal"]
        assert (row["job_name"], row["prompt"], row["negative_prompt"]) == (job, None, None)
        recipe, whole = json.loads(row["recipe"]), json.loads(told["recipe"])
        assert recipe["embeddings"] == [{"model": whole["embeddings"][0]["model"]}]
        assert whole.items() >= {**recipe, "embeddings": whole["embeddings"]}.items()
        assert whole.keys() - recipe.keys() == {"prompt", "prompt_2", "negative_prompt"} & whole.keys()
    reasons = {row["reason"]: row["detail"] for row in rejected(tmp_path / "out")}
    assert reasons == {"error": None, "rejected": "near_duplicate of 1"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Prompts are withheld" in card
    assert "| `prompt, negative_prompt` | 3 | withheld |" in card
    assert "### By prompt" not in card


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_opens_in_datasets_and_its_code_runs(
    desk: ExportDesk, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    job = secretive(desk)

    desk.export(tmp_path / "out", job, format=layout, prompts=False)
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    monkeypatch.chdir(tmp_path / "out")
    for piece in (tmp_path / "out" / "README.md").read_text().split("```python\n")[1:]:
        exec(compile(piece.split("```")[0], "README.md", "exec"), {})

    assert len(found) == 4
    column = "txt" if layout == "webdataset" else "text"
    assert layout == "folder" or {row[column] or "" for row in found} == {""}


def test_the_same_rows_give_the_same_bytes_and_other_conditions_another_export(
    desk: ExportDesk, tmp_path: Path
) -> None:
    job = secretive(desk)
    desk.export(tmp_path / "one", job, prompts=False, where="prompt ilike '%xyzzy%'")

    desk.export(tmp_path / "two", job, prompts=False, where="prompt ilike '%xyzzy%'")
    again = desk.export(tmp_path / "one", job, prompts=False, where="prompt ilike '%xyzzy%'")

    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert (again.images, again.kept) == (0, 1)
    with pytest.raises(Exception, match="other options \\(--where was 'sha256:"):
        desk.export(tmp_path / "one", job, prompts=False, where="prompt ilike '%fox%'")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"caption": "prompt"}, "--caption = 'prompt': says prompts", id="the prompt as caption"),
        pytest.param({"caption": "prompt_template"}, "--caption", id="the template"),
        pytest.param({"caption": "label.title"}, "--caption", id="a label that holds the prompt"),
        pytest.param({"caption": "label_title"}, "--caption", id="that label by its column"),
        pytest.param({"cls": "negative_prompt"}, "--cls", id="a prompt as class"),
        pytest.param({"cls": "title"}, "--cls", id="that label as class"),
        pytest.param({"format": "folder", "captions": True}, "--captions: would write empty", id="empty captions"),
        pytest.param({"format": "folder", "name": "{seed}_{prompt}"}, "{prompt} says prompts", id="in names"),
        pytest.param({"format": "folder", "name": "{seed:{title}}"}, "{title} says prompts", id="in a format"),
        pytest.param({"format": "folder", "name": "{refiner_prompt[0]!r}"}, "{refiner_prompt}", id="a letter of it"),
        pytest.param({"format": "folder", "name": "{callbacks}"}, "{callbacks} says prompts", id="options of code"),
    ],
)
def test_options_that_ask_for_prompts_are_refused_before_anything_is_written(
    desk: ExportDesk, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    job = secretive(desk)

    with pytest.raises(InvalidSpec) as caught:
        desk.export(tmp_path / "out", job, prompts=False, **options)

    assert said in str(caught.value)
    assert hashes(tmp_path / "out") == {}


def test_labels_of_rows_stay_as_captions_classes_and_names(desk: ExportDesk, tmp_path: Path) -> None:
    job = secretive(desk)
    wanted = {"format": "folder", "captions": True, "caption": "animal", "name": "{animal}_{seed}"}

    desk.export(tmp_path / "out", job, prompts=False, **wanted)

    texts = {path.stem: path.read_text() for path in (tmp_path / "out" / "data").rglob("*.txt")}
    names = {0: "fox", 1: "hare", 2: "owl", 5: "owl"}
    assert texts == {f"00000000{number}_{name}_0": name for number, name in names.items()}


def test_words_of_a_template_are_withheld_by_each_of_its_names(desk: ExportDesk, tmp_path: Path) -> None:
    job = templated(desk)

    found = withheld_of(sources_of(desk.farm, [job]))

    assert found.labels == {"xyzzy_size", "xyzzy/colour", "choice_1"}


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        pytest.param("A-long-pr-mpt-abou", False, id="the beginning of a prompt, as without a job file"),
        pytest.param("of.a-long-pr-mpt-about_xyzzy.2", False, id="a whole prompt within"),
        pytest.param("prompts-about-animals", True, id="a name of its own"),
    ],
)
def test_a_job_goes_by_its_id_where_its_name_tells_a_prompt(desk: ExportDesk, name: str, stays: bool) -> None:
    job = desk.submit(name=name, axes={"prompt": ["a fox", "a long, prömpt\nabout xyzzy"], "seed": [1]})
    (source,) = sources_of(desk.farm, [job])

    assert unnamed(source).row.name == (name if stays else job)


@pytest.mark.parametrize(
    ("output", "options", "told"),
    [
        pytest.param({"prompts": False}, {"size": "8"}, False, id="kept by the job, made smaller"),
        pytest.param({"metadata": "minimal"}, {"size": "8"}, False, id="minimal by the job, made smaller"),
        pytest.param({"prompts": False}, {"metadata": "full"}, False, id="kept by the job, all else asked for"),
        pytest.param({}, {"size": "8"}, True, id="told by the job"),
        pytest.param({"metadata": "minimal"}, {"metadata": "full"}, True, id="asked for"),
    ],
)
def test_a_picture_that_is_made_anew_tells_no_more_than_its_job_lets_it(
    desk: ExportDesk, tmp_path: Path, output: dict[str, Any], options: dict[str, Any], told: bool
) -> None:
    job = desk.painted(axes={"seed": [1]}, prompt="xyzzy", output=output)

    desk.export(tmp_path / "out", job, format="folder", **options)

    (data,) = [path.read_bytes() for path in (tmp_path / "out" / "data").rglob("*.png")]
    assert (b"xyzzy" in data) == told
    assert b"DigitalSourceType" in data


def test_jpegs_are_written_anew_only_where_they_hold_prompts() -> None:
    silent = ExportOptions(prompts=False)
    kept = {"format": "jpeg", "prompts": False}

    assert not finishing_of(silent, kept, signing=None).is_anew
    assert not finishing_of(silent, {"format": "jpeg", "metadata": "minimal"}, signing=None).is_anew
    with pytest.raises(InvalidSpec, match=r"--no-prompts: writes jpeg pictures anew.*add --format jpeg"):
        finishing_of(silent, {"format": "jpeg"}, signing=None)


def test_the_command_says_which_labels_stay_and_publishing_knows_that_prompts_do_not(
    desk: ExportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FARM_HOME", str(desk.folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    job = secretive(desk)

    asked = typed(capsys, "export", job, "--to", "set", "--no-prompts", "--caption", "prompt")
    ended = typed(capsys, "export", job, "--to", "set", "--no-prompts", "--plain")
    note = typed(capsys, "publish", "set", "--repo", "owner/set", "--dry-run").stdout.splitlines()[0]

    assert asked.returncode == 2
    assert asked.stderr == (
        "farm: --caption = 'prompt': says prompts, which --no-prompts withholds; name something else, "
        "or leave --no-prompts out\n"
    )
    assert "no prompts in it; labels in it: animal\n" in ended.stdout
    assert note == (
        "note: exported without prompts; hashes of recipes stand in it, and the labels animal; "
        "what was public once cannot be taken back"
    )


def test_a_caption_of_prompts_is_the_default_spelt_out(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"seed": [1]})
    desk.export(tmp_path / "out", job)

    again = desk.export(tmp_path / "out", job, caption="prompt")

    assert again.kept == 1
