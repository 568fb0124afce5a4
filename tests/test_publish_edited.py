"""Cards whose front matter people changed before they published: what the hub takes, and what is refused in words."""

import shutil
from pathlib import Path

import pytest

from card_folders import exported, job, rewrite
from dispatcher.export.card.finishing import finish
from dispatcher.export.publishing.parcel import NotPublishable, check_front, pack

NAMES = ["README.md", "data/train-000000.tar", "data/test-000000.tar"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("edited") / "foxes"
    target, index = exported(place)
    finish(target, index, [job()])
    return place


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    return shutil.copytree(made, tmp_path / "foxes")


def check(front: str) -> None:
    check_front(Path("set"), f"---\nlicense: mit\n{front}\n---\n\n# Foxes\n", names=NAMES)


@pytest.mark.parametrize(
    "files",
    [
        "data/train-*.tar",
        "[data/train-*.tar, data/test-*.tar]",
        "[{split: train, path: data/train-*.tar}, {split: test, path: [data/test-*.tar]}]",
        "'**/*.tar'",
        "null",
    ],
)
def test_files_may_be_named_in_every_way_that_the_hub_takes(files: str) -> None:
    check(f"configs: [{{config_name: default, data_files: {files}}}]")


@pytest.mark.parametrize(
    ("front", "says"),
    [
        pytest.param("configs: [{data_files: x/*.tar}]", "split 'train' finds no file with 'x/*.tar'", id="a text"),
        pytest.param("configs: [{data_files: [data/*.tar, x/*]}]", "finds no file with 'x/*'", id="a list"),
        pytest.param("configs: data", "configs: must be a list of mappings", id="configs of text"),
        pytest.param("configs: {data_files: data/*.tar}", "configs: must be a list of mappings", id="one mapping"),
        pytest.param("configs: [data/*.tar]", "configs: must be a list of mappings", id="texts"),
        pytest.param("configs: [{data_files: 5}]", "data_files must be a pattern", id="a number"),
        pytest.param("configs: [{data_files: {train: data/*.tar}}]", "data_files must be a pattern", id="a mapping"),
        pytest.param("configs: [{data_files: [{split: train}]}]", "data_files must be a pattern", id="no path"),
        pytest.param("configs: [{data_files: [{path: data/*.tar}]}]", "data_files must be a pattern", id="no split"),
        pytest.param("configs: [{data_files: [{split: a, path: 5}]}]", "data_files must be", id="a path of 5"),
        pytest.param("configs: [{data_files: [data/*, {split: a, path: data/*}]}]", "data_files must be", id="mixed"),
        pytest.param("date: 2024-13-45", "its front matter is no YAML (month must be in 1..12", id="no such date"),
    ],
)
def test_a_front_matter_that_the_hub_would_not_take_is_refused(front: str, says: str) -> None:
    with pytest.raises(NotPublishable) as refused:
        check(front)

    assert says in str(refused.value)
    assert str(refused.value).startswith("set/README.md: ")


def test_a_card_that_is_no_utf_8_is_refused_before_anybody_is_asked(folder: Path) -> None:
    rewrite(folder, "README.md", ("# foxes", "# füchse"))
    assert "# füchse" in pack(folder).card

    text = (folder / "README.md").read_bytes()
    (folder / "README.md").write_bytes(text.replace(b"\xc3\xbc", b"\xfc"))

    with pytest.raises(NotPublishable, match=f"README.md: byte {text.index(b'chse') - 1} is no UTF-8, .*; save"):
        pack(folder)
