"""Templates with lists, inline alternatives and folders of word files."""

from pathlib import Path
from typing import Any

import pytest

from spec_files import frozen
from storage.errors import InvalidSpec, UserError
from storage.spec import Job, Spec
from storage.spec.growth import extend


def prompts(spec: Spec) -> list[str]:
    return [place.values["prompt"] for place in Job(spec) if place]


def words(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / "wildcards" / f"{name.replace('__', '/')}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def template(folder: Path, text: str, **more: Any) -> Spec:
    return frozen(folder, axes={"prompt": {"template": text, **more}})


def test_alternatives_in_a_template_are_all_rendered_and_become_labels(tmp_path: Path) -> None:
    spec = template(tmp_path, "a {red|green} {animal}{| at dawn}", values={"animal": ["fox", "hare"]})

    assert prompts(spec)[:4] == ["a red fox", "a red fox at dawn", "a red hare", "a red hare at dawn"]
    last = Job(spec)[7]
    assert last is not None
    assert last.labels == {"choice_1": "green", "animal": "hare", "choice_2": " at dawn"}
    assert last.template == "a {red|green} {animal}{| at dawn}"
    assert Spec.from_json(spec.to_json()) == spec


def test_wildcards_are_lines_of_files_without_comments(tmp_path: Path) -> None:
    words(tmp_path, color="# warm\nred\n\n  orange \n# cold\nblue\n", animals__cats="a cat\na lynx\n")

    spec = template(tmp_path, "__animals/cats__ in __color__, __color__", wildcards="./wildcards")

    assert prompts(spec) == [
        f"{cat} in {color}, {color}" for cat in ("a cat", "a lynx") for color in ("red", "orange", "blue")
    ]
    first = Job(spec)[0]
    assert first is not None
    assert first.labels == {"animals/cats": "a cat", "color": "red"}
    assert [(entry["key"], entry["name"], entry["rows"]) for entry in spec.sources] == [
        ("axes.prompt.wildcards", "wildcards/animals/cats.txt", 2), ("axes.prompt.wildcards", "wildcards/color.txt", 3),
    ]  # fmt: skip


def test_a_line_of_a_wildcard_may_hold_others_and_alternatives(tmp_path: Path) -> None:
    words(tmp_path, beast="__color__ {fox|hare}\na {plain} owl", color="red\nblue")

    spec = template(tmp_path, "__beast__", wildcards="wildcards")

    assert prompts(spec) == ["red fox", "red hare", "blue fox", "blue hare", "a {plain} owl"]


def test_underscores_without_a_folder_are_text(tmp_path: Path) -> None:
    assert prompts(template(tmp_path, "__init__ of {x} __{x}__", values={"x": ["a"]})) == ["__init__ of a __a__"]


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        pytest.param("__tone__", {}, "wildcards/tone.txt: no such file", id="no file"),
        pytest.param("__../m__", {}, "must name a file of the folder, such as __color__", id="out of the folder"),
        pytest.param("__/etc/passwd__", {}, "must name a file of the folder", id="absolute"),
        pytest.param("__animals/*__", {}, "must name a file of the folder", id="pattern"),
        pytest.param("__round__", {}, "goes round: round > about > round", id="in a circle"),
        pytest.param("__none__", {}, "wildcards/none.txt: holds no values; write one a line", id="comments only"),
        pytest.param("__picks__", {}, "must be alternatives such as {a|b}; $$ is not read here", id="other syntax"),
        pytest.param("__bomb9__", {}, "stands for more than 1000000 texts", id="too many"),
        pytest.param("a fox", {}, "has no {names}", id="nothing to replace"),
        pytest.param("{0.3::a|b}", {}, ":: is not read here", id="weights"),
        pytest.param("{a|{b|c}}", {}, "must not hold braces", id="nested"),
        pytest.param("{a|b}", {"values": {"choice_1": ["x"]}}, "is the name of alternatives", id="same name"),
        pytest.param("__color__", {"values": {"color": ["x"]}}, "the template has no {color}", id="both"),
        pytest.param("{color} __color__", {"values": {"color": ["x"]}}, "has __color__ and a name like it", id="two"),
        pytest.param("{color}", {}, "values has no 'color'", id="braces are for values"),
    ],
)  # fmt: skip
def test_a_wildcard_that_cannot_be_is_refused(tmp_path: Path, text: str, more: dict[str, Any], message: str) -> None:
    words(tmp_path, color="red", round="__about__", about="__round__", none="# a", picks="{2$$a|b}", bomb0="a\nb\nc\nd")
    words(tmp_path, **{f"bomb{size}": f"__bomb{size - 1}__ __bomb{size - 1}__" for size in range(1, 10)})

    with pytest.raises(UserError) as caught:
        template(tmp_path, text, wildcards="wildcards", **more)

    assert message in str(caught.value)


def test_words_of_a_template_come_from_a_column_too(tmp_path: Path) -> None:
    (tmp_path / "animals.csv").write_text("id,name\n1,fox\n2,hare\n")

    spec = template(tmp_path, "a {animal}", values={"animal": {"file": "animals.csv", "column": "name"}})

    assert prompts(spec) == ["a fox", "a hare"]
    assert spec.sources[0]["key"] == "axes.prompt.values.animal"


def test_an_empty_cell_of_words_is_refused_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "animals.jsonl").write_text('{"name": "fox"}\n{"name": null}\n')

    with pytest.raises(InvalidSpec, match=r"animals\.jsonl row 2, name: is empty, and a template cannot"):
        template(tmp_path, "a {animal}", values={"animal": {"file": "animals.jsonl", "column": "name"}})


def test_a_wildcard_file_that_grew_extends_the_job(tmp_path: Path) -> None:
    words(tmp_path, color="red\nblue")
    spec = template(tmp_path, "a __color__ fox", wildcards="wildcards")
    words(tmp_path, color="red\nblue\ngreen")

    longer = extend(spec, template(tmp_path, "a __color__ fox", wildcards="wildcards"), max_images=100)

    assert prompts(longer) == ["a red fox", "a blue fox", "a green fox"]
    assert [entry["rows"] for entry in longer.sources] == [2, 3]


def test_a_zip_that_grew_keeps_the_template_of_its_prompts(tmp_path: Path) -> None:
    def zipped(colors: list[str]) -> Spec:
        made = {"template": "a {color} fox", "values": {"color": colors}}
        return frozen(tmp_path, zip=[{"prompt": made, "seed": {"count": len(colors)}}])

    longer = extend(zipped(["red", "blue"]), zipped(["red", "blue", "green"]), max_images=100)

    assert [place.template for place in Job(Spec.from_json(longer.to_json())) if place] == ["a {color} fox"] * 3


def test_only_prompts_of_a_template_have_one(tmp_path: Path) -> None:
    made = {"template": "{x}", "values": {"x": ["blurry"]}}
    place = Job(frozen(tmp_path, axes={"negative_prompt": made}))[0]

    assert place is not None
    assert place.template is None


def test_braces_that_stay_and_underscores_beside_a_name_are_text(tmp_path: Path) -> None:
    spec = template(tmp_path, "{{x}} {x} __x__", values={"x": ["a"]})

    with pytest.raises(InvalidSpec, match="Single '}'"):
        template(tmp_path, "a } {x}", values={"x": ["a"]})
    assert prompts(spec) == ["{x} a __x__"]
