"""The documentation against the code: what it says can be typed, and what it lists is complete."""

import re
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from pydantic import BaseModel

from dispatcher.cli.root import main as farm
from storage.errors import UserError
from storage.models import KINDS
from storage.settings import PREFIX, Settings
from storage.spec import Job, Spec, check_job_file, freeze
from storage.spec.fields import FIELDS, MODES, TEXT_TO_IMAGE, Cost
from storage.spec.file.jobfile import (
    DeriveSource,
    FileSource,
    FolderSource,
    GlobSource,
    JobFile,
    Output,
    PlanPins,
    Previews,
    RangeSource,
    Rows,
    TemplateSource,
)
from storage.spec.file.reading import parse_yaml
from storage.states import CHUNK_STEPS, JOB_STEPS, ImageState, Wish
from worker.cli import main as farm_worker

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
JOB_FILE = (ROOT / "docs" / "job-file.md").read_text()
STATES = (ROOT / "docs" / "states.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"(?:^ {4,}|`)\./farm ([^`\n]+)", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    part = re.split(rf"^## {re.escape(heading)}$", page, flags=re.MULTILINE)[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def frozen(raw: Mapping[str, Any], base: Path, *, max_images: int = 10**9) -> Spec:
    return freeze(check_job_file(raw), base=base, name="doc", max_images=max_images)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with every file that the pages speak of."""
    (tmp_path / "examples" / "digits" / "model").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    for name in ("one.png", "two.png"):
        Image.new("RGB", (64, 64), "teal").save(tmp_path / "photos" / name)
    (tmp_path / "sizes.csv").write_text("width,height\n64,64\n64,128\n")
    (tmp_path / "places.txt").write_text("a wood\na town\n")
    (tmp_path / "captions.csv").write_text("caption,seed,class,source\na fox,7,animal,own\n")
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions" / "train.csv").write_text("caption\na fox\na hare\n")
    (tmp_path / "wildcards" / "animals").mkdir(parents=True)
    for name in ("color", "color2", "animals/cats"):
        (tmp_path / "wildcards" / f"{name}.txt").write_text("# words\nred\nblue\n")
    return tmp_path


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_farm_command_can_be_typed(page: Path) -> None:
    for call in CALL.findall(page.read_text()):
        first = re.split(r"\s+#|&&", call)[0]
        name, *arguments = shlex.split(first)
        if name.startswith("--"):
            assert name == "--version"
        elif name == "test":
            assert '"${1:-}" = test' in (ROOT / "farm").read_text()
        elif name != "CMD":
            command = farm.get_command(None, name)  # type: ignore[arg-type]
            assert command is not None, f"./farm {name}"
            command.make_context(name, list(arguments), resilient_parsing=not arguments)  # an unknown option raises


def test_every_command_and_option_that_a_worker_is_told_exists() -> None:
    for call in re.findall(r"farm-worker (start[^`\n#]*)", README):
        name, *arguments = shlex.split(call)
        farm_worker.commands[name].make_context(name, list(arguments))


def test_the_settings_table_is_the_class() -> None:
    said = rows((ROOT / "docs" / "settings.md").read_text(), "Settings")

    wanted = []
    for name, field in Settings.model_fields.items():
        default = "the OS user" if field.default_factory else "" if field.default is None else f"`{field.default}`"
        wanted.append([f"`{PREFIX}{name.upper()}`", default, str(field.description)])
    assert said == wanted


@pytest.mark.parametrize("block", YAML_BLOCK.findall(README), ids=lambda block: block.split("\n")[0])
def test_a_job_in_the_readme_is_a_job(block: str, beside: Path) -> None:
    job = Job(frozen(parse_yaml(block, where="README"), beside))

    assert 0 < job.images < len(job)  # it shows an exclusion


@pytest.mark.parametrize("block", YAML_BLOCK.findall(JOB_FILE), ids=lambda block: block.split("\n")[1])
def test_a_job_in_the_job_file_page_is_a_job(block: str, beside: Path) -> None:
    job = Job(frozen(parse_yaml(block, where="docs/job-file.md"), beside))

    assert job.images > 0


MISTAKES = [tuple(words(cell)[0] for cell in row) for row in rows(JOB_FILE, "What mistakes look like")]


@pytest.mark.parametrize(("snippet", "message"), MISTAKES, ids=[snippet for snippet, _ in MISTAKES])
def test_a_mistake_gives_the_message_that_the_page_shows(snippet: str, message: str, beside: Path) -> None:
    wrong = yaml.safe_load(f"{{{snippet}}}")
    raw: dict[str, Any] = {"model": "owner/name", "prompt": "a fox", **wrong}
    if "prompt" in raw.get("axes", {}) or "rows" in raw:
        del raw["prompt"]

    with pytest.raises(UserError) as caught:
        frozen(raw, beside)

    assert str(caught.value) == message


COSTS = {Cost.MODEL: "weights", Cost.SIZE: "size", Cost.ADAPTER: "adapters", Cost.BATCH: "call", Cost.IMAGE: "image"}


def test_the_tables_of_recipe_keys_are_the_code() -> None:
    said = {
        words(row[0])[0]: row for row in rows(JOB_FILE, "What decides a picture") if len(row) == 5 and words(row[0])
    }

    assert set(said) == set(FIELDS)
    for name, field in FIELDS.items():
        _, note, _, default, cost = said[name]
        assert (note, cost) == (field.note, COSTS[field.cost]), name
        if field.default is ...:
            assert default == "must be given"
        elif field.default is not None:
            assert default == f"`{field.default}`"


def test_the_table_of_modes_is_the_code() -> None:
    said = {words(row[0])[0]: [words(cell) for cell in row[2:]] for row in rows(JOB_FILE, "Modes")}

    needed = {
        mode: [name for name, field in FIELDS.items() if field.default is ... and mode in field.modes] for mode in MODES
    }
    besides = {
        mode: [
            name for name, field in FIELDS.items()
            if mode in field.modes and TEXT_TO_IMAGE not in field.modes and field.default is not ...
        ]
        for mode in MODES
    }  # fmt: skip
    assert said == {mode: [needed[mode], besides[mode]] for mode in MODES}


def test_the_table_of_kinds_of_models_is_the_code() -> None:
    told = [words(cells[0])[0] for cells in rows((ROOT / "docs" / "models.md").read_text(), "Registering")]

    assert told == list(KINDS)


def test_what_an_unconditional_job_takes_is_said_in_full() -> None:
    (line,) = re.findall(r"^Without a prompt, (.*)$", JOB_FILE, re.MULTILINE)

    assert words(line)[1:] == [name for name, field in FIELDS.items() if words(line)[0] in field.modes]


def test_the_table_of_plan_keys_is_the_code() -> None:
    table = JOB_FILE.split("| in `plan` |")[1].split("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(PlanPins.model_fields)


@pytest.mark.parametrize("part", [
    JobFile, Rows, PlanPins, Previews, Output, FileSource, TemplateSource, FolderSource, GlobSource, RangeSource,
    DeriveSource,
])  # fmt: skip
def test_every_key_of_the_job_file_is_described(part: type[BaseModel]) -> None:
    told = " ".join([*words(YAML_BLOCK.sub("", JOB_FILE)), *YAML_BLOCK.findall(JOB_FILE)])

    assert [name for name in part.model_fields if not re.search(rf"\b{name}\b", told)] == []


@pytest.mark.parametrize(("heading", "steps"), [("Jobs", JOB_STEPS), ("Chunks", CHUNK_STEPS)])
def test_the_tables_of_states_are_the_code(heading: str, steps: Mapping[StrEnum, frozenset[StrEnum]]) -> None:
    said = {words(row[0])[0]: set(words(row[2])) for row in rows(STATES, heading)}

    assert said == {str(state): {str(following) for following in after} for state, after in steps.items()}


@pytest.mark.parametrize(("heading", "values"), [("Images", ImageState), ("Wishes", Wish)])
def test_the_tables_of_endings_and_wishes_are_the_code(heading: str, values: type[StrEnum]) -> None:
    assert [words(row[0])[0] for row in rows(STATES, heading)] == [str(value) for value in values]
