"""What a card tells of a job: gathered from SQL and the frozen spec, as a reader of the card sees it."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dispatcher.export.card.facts import AxisFact, JobFacts
from dispatcher.export.card.gathering import facts_of
from dispatcher.export.engine import Way
from dispatcher.export.sources import sources_of
from export_desk import ExportDesk, opened_desk

TEMPLATE = {
    "template": "__animals/cats__ in {light|fog}, {size}",
    "values": {"size": ["big", "small"]}, "wildcards": "wild",
}  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[ExportDesk]:
    (tmp_path / "wild" / "animals").mkdir(parents=True)
    (tmp_path / "wild" / "animals" / "cats.txt").write_text("a cat\na lynx\n")
    with opened_desk(tmp_path) as desk:
        yield desk


def gathered(desk: ExportDesk, **entries: Any) -> JobFacts:
    """What is told of a job that was submitted."""
    (source,) = sources_of(desk.farm, [desk.submit(**entries)])
    with desk.database.read() as connection:
        return facts_of(connection, source.row, source.job)


def axes(desk: ExportDesk, **entries: Any) -> dict[tuple[str, ...], AxisFact]:
    return {axis.keys: axis for axis in gathered(desk, **entries).axes}


def carded(desk: ExportDesk, folder: Path, **entries: Any) -> str:
    """The card of a job that is done."""
    job = desk.painted(**entries)
    desk.export(folder, job)
    return (folder / "README.md").read_text()


def test_a_template_is_told_with_its_first_texts_its_last_and_its_words(desk: ExportDesk) -> None:
    found = gathered(desk, axes={"prompt": TEMPLATE, "seed": {"count": 2}})

    prompt, seed = found.axes
    assert (prompt.keys, prompt.count, prompt.template) == (("prompt",), 8, TEMPLATE["template"])
    assert prompt.examples == (
        "a cat in light, big", "a cat in light, small", "a cat in fog, big", "a cat in fog, small",
        "a lynx in light, big", "a lynx in fog, small",
    )  # fmt: skip
    assert (seed.examples, seed.derived_over) == (("0", "1"), None)
    assert [source.name for source in found.sources] == ["cats.txt"]


def test_a_template_of_very_many_texts_is_counted_and_not_listed(desk: ExportDesk) -> None:
    words = {name: [f"{name}{place}" for place in range(1000)] for name in ("a", "b", "c")}
    prompt = {"template": "{a} {b} {c}", "values": words}

    found = gathered(desk, axes={"prompt": prompt, "seed": {"derive": 2}}, sample={"count": 3, "seed": 5})

    (told, seeds) = found.axes
    assert (told.count, told.examples[-1], len(told.examples)) == (10**9, "a999 b999 c999", 6)
    assert (seeds.count, seeds.derived_over) == (2, ("prompt", "model"))
    assert (found.images, found.combinations, found.draw_seed) == (3, 2 * 10**9, 5)


def test_a_template_of_negative_prompts_is_no_template_of_prompts(desk: ExportDesk) -> None:
    found = axes(desk, axes={"negative_prompt": {"template": "no {w}", "values": {"w": ["x", "y"]}}})

    assert (found["negative_prompt",].template, found["negative_prompt",].examples) == (None, ("no x", "no y"))


@pytest.mark.parametrize("over", [None, [], ["prompt"], ["prompt", "steps"]])
def test_derived_seeds_say_what_they_are_derived_over(desk: ExportDesk, over: list[str] | None) -> None:
    said = {} if over is None else {"over": over}

    found = axes(desk, axes={"prompt": ["a", "b"], "seed": {"derive": 3, **said}})

    seed = found["seed",]
    assert (seed.count, seed.examples) == (3, ())
    assert seed.derived_over == tuple(["prompt", "model"] if over is None else over)


def test_values_that_are_zipped_with_derived_seeds_are_shown(desk: ExportDesk) -> None:
    zipped = {"prompt": ["a fox", "an owl"], "seed": {"derive": 2, "over": ["steps"]}, "steps": [4, 8]}

    (axis,) = axes(desk, zip=[zipped], axes={}).values()

    assert set(axis.keys) == {"prompt", "seed", "steps"}
    assert axis.examples == ("a fox · 4", "an owl · 8")
    assert axis.derived_over == ("steps",)


def test_nothing_is_called_none(desk: ExportDesk) -> None:
    found = axes(desk, axes={"guidance_scale": [None, 7.5], "negative_prompt": [None, "None"]})

    assert found["guidance_scale",].examples == ("none", "7.5")
    assert found["negative_prompt",].examples == ("none", "None")


def test_an_axis_that_has_grown_is_one_axis(desk: ExportDesk, tmp_path: Path) -> None:
    from storage.spec import Job
    from storage.spec.growth import add_values

    (source,) = sources_of(desk.farm, [desk.submit(axes={"prompt": ["a fox"], "seed": {"derive": 2}})])
    grown = Job(add_values(source.job.spec, seeds=3, prompts=["an owl"], max_images=10**6))
    with desk.database.read() as connection:
        found = facts_of(connection, source.row, grown)

    assert [(axis.keys, axis.count) for axis in found.axes] == [(("prompt",), 2), (("seed",), 5)]
    assert found.axes[0].examples == ("a fox", "an owl")
    assert found.axes[1].derived_over == ("prompt", "model")


def test_a_card_of_a_template_and_derived_seeds_reads_well(desk: ExportDesk, tmp_path: Path) -> None:
    text = carded(
        desk, tmp_path / "out", axes={"prompt": TEMPLATE, "seed": {"derive": 2, "over": ["prompt"]}},
        exclude=[{"size": "big", "choice_1": "fog"}],
    )  # fmt: skip

    assert '| `prompt` | 8 | "a cat in light, big", "a cat in light, small", ' in text
    assert '"a lynx in light, big", … "a lynx in fog, small" |' in text
    assert "| `seed` | 2 | derived over `prompt` |" in text
    assert "Some combinations are left out, as the job says." in text
    assert "Prompts were made of the template \\_\\_animals/cats\\_\\_ in \\{light&#124;fog\\}, \\{size\\}." in text
    assert "| `animals/cats` | 2 | a cat 6, a lynx 6 |" in text
    assert "| `choice_1` | 2 | light 8, fog 4 |" in text
    with Image.open(tmp_path / "out" / "plots" / "sample.png") as mosaic:
        assert mosaic.width > 300


def test_a_picture_that_was_lost_since_stays_in_the_sums_and_stops_no_card(desk: ExportDesk, tmp_path: Path) -> None:
    job = desk.painted(axes={"seed": {"count": 4}})
    desk.export(tmp_path / "out", job, format="imagefolder")
    picture = next((tmp_path / "out" / "data").rglob("*.png"))
    picture.unlink()

    desk.export(tmp_path / "out", job, format="imagefolder")

    assert picture.name in (tmp_path / "out" / "SHA256SUMS").read_text()
    assert (tmp_path / "out" / "plots" / "sample.png").exists()


def test_a_card_of_a_sample_says_of_how_many(desk: ExportDesk, tmp_path: Path) -> None:
    text = carded(desk, tmp_path / "out", sample={"count": 3, "seed": 5})

    assert "Rendered was a random sample: 3 of 16 combinations, drawn with seed 5." in text


def test_scorers_and_code_of_the_operator_are_named_by_digest(desk: ExportDesk, tmp_path: Path) -> None:
    (tmp_path / "eye").mkdir()
    desk.digests["clip:./eye"] = "sha256:" + "b" * 64

    text = carded(
        desk, tmp_path / "out", quality={"clip": {"model": "./eye"}}, output={"watermark": "stamp"},
        callbacks=[{"name": "fade"}],
    )  # fmt: skip

    models, scorers, code = (text.split(f"### {head}\n")[1].split("###")[0] for head in ("Models", "Scorers", "Code"))
    assert ("| m | checkpoint |" in models, "eye" in models) == (True, False)
    assert "| eye | clip | Fake | files of the farm's owner | `sha256:bbbbbbbbbbbb` | unknown |" in scorers
    named = [line.split(" | ")[:2] for line in code.strip().splitlines()[4:]]
    assert named == [["| fade", "callback"], ["| stamp", "watermark"]]
    assert code.count("`sha256:" + "a" * 64) == 2
    assert "callback fade" in (tmp_path / "out" / "croissant.json").read_text()


@pytest.mark.parametrize("rows", [1, 40], ids=["one row", "more rows than a plot has room for"])
def test_the_title_of_a_narrow_plot_is_not_cut_off(tmp_path: Path, rows: int) -> None:
    from card_folders import exported, job, row
    from dispatcher.export.card.finishing import finish

    names = [f"dpmpp_2m+use_karras_sigmas+{place}" for place in range(rows)]
    told = [row(place, scheduler=names[place % rows], steps=10 + place % 2) for place in range(2 * rows)]
    told[0] |= {"state": "failed", "reason": "blank"}
    target, index = exported(tmp_path / "x", made=told)

    finish(target, index, [job()])

    with Image.open(tmp_path / "x" / "plots" / "settings.png") as plot:
        grey = plot.convert("L")
        edge = [grey.getpixel((plot.width - 1, y)) for y in range(40)]
    assert set(edge) == {255}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_classes_that_came_with_a_later_round_are_in_the_card(desk: ExportDesk, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets
    one = desk.painted(axes={"seed": {"count": 2}, "scheduler": ["ddim"]})
    other = desk.painted(axes={"seed": {"count": 2}, "scheduler": ["euler", "ddim"]})
    desk.export(tmp_path / "out", one, format="parquet", cls="scheduler")

    desk.export(tmp_path / "out", one, other, format="parquet", cls="scheduler", way=Way(append=True))
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]

    names = found.features["cls"].names
    assert names == ["ddim", "euler"]
    assert [names[row["cls"]] for row in found] == [row["scheduler"] for row in found]
