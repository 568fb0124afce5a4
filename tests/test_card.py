"""The data card and what lies beside it: read by the libraries that people use, and by a picky reader."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from card_folders import PROMPTS, exported, job, row, rows
from dispatcher.export.card.facts import ModelFact
from dispatcher.export.card.finishing import finish
from dispatcher.export.index import Index
from dispatcher.export.targets import FolderTarget

FORMATS = ("webdataset", "parquet", "imagefolder", "folder")
Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished export of a format in two splits; nobody may change it."""
    root, done = tmp_path_factory.mktemp("cards"), dict[str, Path]()

    def get(form: str) -> Path:
        if form not in done:
            captions = {"captions": True} if form == "folder" else {}
            target, index = exported(root / form, form, splits=("train", "test"), **captions)
            finish(target, index, [job()])
            done[form] = root / form
        return done[form]

    return get


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache of `datasets` in a folder of this test's own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def front(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    return found


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("form", FORMATS)
def test_datasets_loads_pictures_of_each_split_by_the_front_matter(made: Made, form: str) -> None:
    import datasets

    folder = made(form)

    found = datasets.load_dataset(str(folder))

    image = "png" if form == "webdataset" else "image"
    assert {split: len(found[split]) for split in found} == {"train": 5, "test": 4}
    assert found["train"][0][image].size == (64, 64)
    assert "label" not in found["train"].column_names


@pytest.mark.usefixtures("offline")
def test_a_parquet_card_tells_the_types_that_the_files_have(made: Made) -> None:
    import datasets

    folder = made("parquet")

    told = datasets.load_dataset_builder(str(folder)).info.features
    read = datasets.load_dataset("parquet", data_files=str(folder / "data" / "train-000000.parquet"))["train"].features

    assert told == read
    assert told["image"] == datasets.Image()


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("form", FORMATS)
def test_every_piece_of_code_in_a_card_runs_as_it_stands(
    made: Made, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(form)
    pieces = [piece.split("```")[0] for piece in (folder / "README.md").read_text().split("```python\n")[1:]]
    monkeypatch.chdir(folder)

    for piece in pieces:
        exec(compile(piece, "README.md", "exec"), {})

    said = capsys.readouterr().out
    assert len(pieces) == (3 if form == "webdataset" else 2)
    assert said.count("(64, 64)") == len(pieces) - 1
    assert "ddim" in said


@pytest.mark.parametrize("form", FORMATS)
def test_sha256sum_finds_every_file_sound(made: Made, form: str) -> None:
    folder = made(form)

    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    files = {file for file in folder.rglob("*") if file.is_file()}
    assert len(done.stdout.splitlines()) == len(files) - 1


@pytest.mark.parametrize("form", ["imagefolder", "folder"])
def test_hashes_of_shards_are_those_of_the_index_and_are_not_read_again(tmp_path: Path, form: str) -> None:
    read = []

    class Watched(FolderTarget):
        def sha256(self, name: str) -> str:
            read.append(name)
            return super().sha256(name)

    _, index = exported(tmp_path / form, form, captions=form == "folder")
    finish(Watched(tmp_path / form), index, [job()])

    assert not [name for name in read if name.startswith(("data/", "metadata/"))]


@pytest.mark.filterwarnings("ignore")  # mlcroissant's own
@pytest.mark.parametrize("form", FORMATS)
def test_mlcroissant_finds_no_fault_and_reads_the_rows(made: Made, form: str) -> None:
    import mlcroissant

    data = mlcroissant.Dataset(jsonld=str(made(form) / "croissant.json"))
    records = list(data.records("images"))

    assert data.metadata.ctx.issues.errors == set()
    assert str(data.metadata.ctx.conforms_to.value) == "http://mlcommons.org/croissant/1.1"
    assert len(records) == 12
    assert {record["images/scheduler"] for record in records} == {b"ddim", b"euler_a"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMATS)
def test_mlcroissant_reads_the_pictures(made: Made, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mlcroissant
    from mlcroissant._src.core import constants

    monkeypatch.setattr(constants, "EXTRACT_PATH", type(constants.EXTRACT_PATH)(tmp_path / "extract"))
    data = mlcroissant.Dataset(jsonld=str(made(form) / "croissant.json"))

    records = list(data.records("pictures"))

    assert len(records) == 9
    assert records[0]["pictures/image"].size == (64, 64)


def test_croissant_names_every_shard_with_its_hash_and_the_models(made: Made) -> None:
    folder = made("webdataset")

    told = json.loads((folder / "croissant.json").read_text())

    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    objects = {entry["@id"]: entry["sha256"] for entry in told["distribution"] if entry["@type"] == "cr:FileObject"}
    assert objects == {name: sha256 for name, sha256 in sums.items() if name.startswith(("data/", "metadata/"))}
    assert told["prov:wasGeneratedBy"]["prov:used"][0]["identifier"] == "sha256:" + "a" * 64
    assert told["prov:wasDerivedFrom"] == [{"@type": "prov:Entity", "name": "foxes.txt", "sha256": "e" * 64}]


def test_the_same_shards_give_the_same_files(made: Made, tmp_path: Path) -> None:
    again = shutil.copytree(made("webdataset"), tmp_path / "again")
    index = Index.decode((again / ".farm/index.json").read_bytes(), place="x")

    finish(FolderTarget(again), index, [job()])

    assert (again / "SHA256SUMS").read_bytes() == (made("webdataset") / "SHA256SUMS").read_bytes()


def test_prompts_cannot_break_a_table_or_speak_html(tmp_path: Path) -> None:
    nasty = [
        "a | b",
        "```\nrm\n```",
        "<script>alert(1)</script>",
        "🦊" * 5000,
        "[x](javascript:1)",
        "# no",
        "\n\n---\n",
    ]
    told = [row(number, prompt=text) for number, text in enumerate([*nasty, "", None])]
    target, index = exported(tmp_path / "x", made=told)

    finish(target, index, [job(name="foxes | <b>\n# x")])

    text = (tmp_path / "x" / "README.md").read_text()
    by_prompt = text.split("### By prompt")[1].split("###")[0].strip().splitlines()
    table = [line for line in by_prompt if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}
    assert len(table) == 2 + len(told)
    assert "<script>" not in text
    assert max(map(len, text.splitlines())) < 3000
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"] == "foxes | <b> # x"


def test_nothing_in_a_card_names_a_host_a_user_or_a_folder(tmp_path: Path) -> None:
    from dispatcher.export.card.facts import shown_model, shown_source

    assert shown_model("/home/alice/models/sd") == "sd"
    assert shown_model("C:\\Users\\alice\\sd.safetensors") == "sd.safetensors"
    assert shown_model("owner/name@main") == "owner/name@main"
    assert shown_source("/home/alice/models/sd") is None
    assert shown_source("owner/name@main") == "owner/name@main"
    told = [row(number, model=("/home/alice/models/sd", "../alice/xl")[number % 2]) for number in range(4)]
    target, index = exported(tmp_path / "x", made=told)
    finish(target, index, [job()])
    text = (tmp_path / "x" / "README.md").read_text()
    assert ("| sd | 2 | 2 |" in text, "| xl | 2 | 2 |" in text, "alice" in text) == (True, True, False)


@pytest.mark.parametrize(
    ("count", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "1M<n<10M"), (10**12, "n>1T")],
)
def test_sizes_are_told_in_the_words_of_the_hub(count: int, category: str) -> None:
    from dispatcher.export.card.text.front import size_category

    assert size_category(count) == category


@pytest.mark.parametrize(
    ("licences", "told"),
    [
        pytest.param(["mit", "mit"], {"license": "mit"}, id="all agree"),
        pytest.param(["mit", "openrail"], None, id="they differ"),
        pytest.param(["mit", None], None, id="one is unknown"),
        pytest.param(["my-own"], None, id="the hub does not know it"),
    ],
)
def test_a_licence_is_claimed_only_where_all_models_share_it(
    tmp_path: Path, licences: list[str | None], told: dict[str, str] | None
) -> None:
    models = [
        ModelFact(name=f"m{place}", kind="checkpoint", source=None, digest=f"sha256:{place}", family="X", license=name)
        for place, name in enumerate(licences)
    ]
    target, index = exported(tmp_path / "x", made=rows(4))

    finish(target, index, [job(models=tuple(models))])

    other = {"license": "other", "license_name": "see-license-notes", "license_link": "LICENSE-NOTES.md"}
    found = front(tmp_path / "x")
    assert {key: found[key] for key in found if key.startswith("license")} == (told or other)
    notes = (tmp_path / "x" / "LICENSE-NOTES.md").read_text()
    assert ("| unknown |" in notes) == (None in licences)


def test_the_numbers_of_a_card_are_those_of_the_rows(made: Made) -> None:
    text = (made("webdataset") / "README.md").read_text()

    assert "Of 12 images looked at, 9 are in the data set, 2 were rejected by quality rules, 1 failed." in text
    assert "| rejected | near\\_duplicate | 1 | 8.3 % |" in text
    assert "| euler\\_a | 6 | 3 | 2 | 1 | 50.0 % |" in text
    assert "Quality rules kept 9 of 11 rendered images (81.8 %)." in text
    assert PROMPTS[0] in text


def test_every_plot_that_a_card_shows_is_a_picture(made: Made) -> None:
    folder = made("webdataset")
    shown = [
        line.split("](")[1].rstrip(")") for line in (folder / "README.md").read_text().splitlines() if "![" in line
    ]

    assert shown == ["plots/sample.png", "plots/settings.png", "plots/reasons.png", "plots/scores.png"]
    for name in shown:
        with Image.open(folder / name) as picture:
            assert (picture.width > 300, picture.info.get("Software")) == (True, None)


def test_an_export_without_images_has_a_card_too(tmp_path: Path) -> None:
    told = [row(0, state="failed", reason="blank")]
    target, index = exported(tmp_path / "x", made=told)

    finish(target, index, [job()])

    text = (tmp_path / "x" / "README.md").read_text()
    assert "0 synthetic images" in text
    assert ("load_dataset" in text, "pd.read_parquet" in text) == (False, True)
