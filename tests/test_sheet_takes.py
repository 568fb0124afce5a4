"""A sheet shows of each place the take that is accepted, and marks where there is none."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from dispatcher.farm import Farm
from dispatcher.quality.judging import Judge
from dispatcher.sheet import Sheet, make_sheet
from dispatcher.sheet.cell import REJECTED, SheetImage
from dispatcher.views.contact import Arrangement, draw_sheet
from keeping_desk import KeepingDesk
from sheet_images import image, picture
from storage.settings import Settings
from storage.spec.number import number_of
from storage.spec_store import SpecStore
from storage.sql import Database

RULES = {"low_variance": "reject", "on_reject": "next_seed", "tries": 3}
FLAT = {1, *(number_of(2, take=take) for take in range(3))}  # 1 has a good second take, 2 has none at all


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> KeepingDesk:
    return KeepingDesk(database, tmp_path)


def judged(desk: KeepingDesk) -> str:
    """A job of four places, rendered and judged to its end."""
    job_id = desk.submit(quality=RULES, axes={"seed": {"count": 4}}, prompt="a")
    judge = Judge(desk.database, SpecStore(desk.store), fence=desk.lead.fence, chunk_s=60)
    for _ in range(5):
        while (chunk := desk.cut(job_id)) is not None:
            made: list[dict[str, Any]] = desk.manifest(chunk)["images"]
            desk.runs -= 1
            desk.render(chunk, images=[{**one, "flags": ["low_variance"] * (one["number"] in FLAT)} for one in made])
        judge.judge()
    return job_id


def drawn(desk: KeepingDesk, job_id: str, **wanted: Any) -> Sheet:
    """The sheet of a job; what the played worker stored is no picture, so a real one stands in for it."""
    for row in desk.images(job_id).values():
        data = picture("teal" if row.number < 4 else "orange")
        desk.store.put(str(row.key), data)
    farm = Farm(Settings(home=desk.folder))
    vars(farm).update(database=desk.database, store=desk.store)
    return draw_sheet(farm, desk.job(job_id), Arrangement(**wanted))


def test_a_place_shows_the_take_that_is_accepted(desk: KeepingDesk) -> None:
    job_id = judged(desk)
    seeds = {number: row.seed for number, row in desk.images(job_id).items()}

    sheet = drawn(desk, job_id)

    said = json.loads(sheet.html.partition('id="recipes">')[2].partition("</script>")[0])
    assert [dict(cell)["seed"] for cell in said] == [str(seeds[number]) for number in (0, number_of(1, take=1), 2, 3)]
    abouts = [part.partition('"')[0] for part in sheet.html.split('data-about="')[1:]]
    assert abouts == ["image 0", "image 1.1", "image 2, rejected", "image 3"]
    assert dict(said[2])["rejected"] == "low_variance"
    assert sheet.html.count("<i class=rejected>rejected</i>") == 1
    assert "4 images · 3 done · 1 rejected" in sheet.html


def test_places_that_come_late_in_the_declared_order_are_not_taken_for_open(desk: KeepingDesk) -> None:
    axes = {"seed": {"count": 3}, "scheduler": ["ddim", "euler"]}
    job_id = desk.submit(axes=axes, prompt="a")
    desk.work(job_id)
    job = desk.spec(desk.job(job_id))
    assert [job.number_at(position) for position in range(3)] == [0, 2, 4]

    sheet = drawn(desk, job_id, limit=3)

    assert "3 images, all done" in sheet.html


def test_a_rejected_picture_is_drawn_with_the_word_on_it() -> None:
    plain = image(0, {"seed": 0})
    bad = SheetImage(0, {"seed": 0}, REJECTED, picture, {"seed": 0})

    pages = [Image.open(io.BytesIO(_sheet(one).png_pages[0])) for one in (plain, bad)]

    assert pages[0].size == pages[1].size
    left, top, right, bottom = ImageChops.difference(pages[0], pages[1]).crop((0, 0, 300, 200)).getbbox() or (0,) * 4
    assert 40 < right - left < 80  # one word, over a picture of 160 pixels
    assert 10 < bottom - top < 25


def _sheet(one: SheetImage) -> Sheet:
    return make_sheet([one], rows=None, cols=None, pages=None, pick={}, title="x")
