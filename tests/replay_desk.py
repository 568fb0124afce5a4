"""A farm of fake renderers with one job that is done, made once and copied for whoever changes it."""

import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from farm_desk import Desk
from storage.sql.images import ImageRow
from typed import Ended, typed


class Rendered(NamedTuple):
    """The farm's folder, and the job's images by number."""

    desk: Desk
    rows: dict[int, ImageRow]


def render(folder: Path, **changes: object) -> Rendered:
    """Run a job of 2 prompts x 3 seeds x 2 schedulers to its end."""
    desk = Desk(folder)
    file = desk.write_job(**{
        "name": "desk",
        "axes": {"prompt": ["a fox", "two foxes"], "seed": {"derive": 3}, "scheduler": ["ddim", "dpmpp_2m_karras"]},
        **changes,
    })  # fmt: skip
    ended = desk.farm("run", str(file), "--plain")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Rendered(desk, desk.images())


class Typing:
    """Types commands into a farm, in this process."""

    def __init__(self, rendered: Rendered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.rows = rendered.rows
        self.folder = rendered.desk.folder
        self.home = rendered.desk.home
        self._capsys = capsys
        for name, value in rendered.desk.env.items():
            if name.startswith("FARM_"):
                monkeypatch.setenv(name, value)
        monkeypatch.chdir(self.folder)

    def __call__(self, *arguments: str) -> Ended:
        return typed(self._capsys, *arguments)

    def json(self, *arguments: str) -> Any:
        """What a command says, as JSON."""
        return json.loads(self(*arguments).stdout)

    def file(self, number: int) -> Path:
        """Where the object of an image lies."""
        return self.home / "store" / str(self.rows[number].key)

    def objects(self) -> set[Path]:
        """Everything in the store."""
        return {path for path in (self.home / "store").rglob("*") if path.is_file()}


def copy_of(rendered: Rendered, folder: Path) -> Rendered:
    """The same farm somewhere else; its model stays where it is."""
    shutil.copytree(rendered.desk.home, folder / "home")
    shutil.copytree(rendered.desk.folder / "model", folder / "model")
    return Rendered(Desk(folder), rendered.rows)


def stained(data: bytes, *, pixels: Iterable[tuple[int, int]] = ((3, 3),)) -> bytes:
    """The same picture with some pixels of another colour, as a sound PNG."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    for place in pixels:
        red, green, blue = picture.getpixel(place)  # type: ignore[misc]
        picture.putpixel(place, (255 - red, green, blue))
    changed = io.BytesIO()
    picture.save(changed, "PNG")
    return changed.getvalue()
