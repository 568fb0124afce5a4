"""What a job says between the lines: refused where it cannot work, noted where it may be a mistake."""

from pathlib import Path
from typing import Any

import pytest

from spec_files import frozen
from storage.errors import InvalidSpec
from storage.spec.notes import notes

WEIGHED = "a (red:1.3) fox"
NOTED = [
    pytest.param({"prompt": WEIGHED}, 1, id="the prompt"),
    pytest.param({"negative_prompt": WEIGHED}, 1, id="the negative prompt"),
    pytest.param({"axes": {"prompt": ["plain", WEIGHED, "a ((b)) c"]}}, 2, id="two of a list"),
    pytest.param(
        {"axes": {"prompt": {"template": "a {x} fox", "values": {"x": ["(red:1.3)", "(blue:0.7)", "b"]}}}}, 2,
        id="words of a template",
    ),
    pytest.param(
        {"axes": {"prompt": {"template": "a ({x}:1.3) fox", "values": {"x": ["red", "blue"]}}}}, 1, id="the template"
    ),
    pytest.param({"zip": [{"prompt": [WEIGHED, "b"], "negative_prompt": [None, WEIGHED]}]}, 1, id="one text twice"),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "count"), NOTED)
def test_weights_that_nobody_reads_are_noted_once_with_their_number(
    tmp_path: Path, entries: dict[str, Any], count: int
) -> None:
    (said,) = notes(frozen(tmp_path, **entries))

    assert said.startswith(f"{count} prompt{'s' if count > 1 else ''} weigh")
    assert said.endswith("the brackets are read as text unless the job says weighting: a1111")


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param({"prompt": WEIGHED, "weighting": "a1111"}, id="read as weights"),
        pytest.param({"prompt": WEIGHED, "axes": {"weighting": ["none", "a1111"]}}, id="compared"),
        pytest.param({"prompt": "a fox (vulpes vulpes) [sic]"}, id="ordinary brackets"),
    ],
)
def test_what_is_no_mistake_is_not_noted(tmp_path: Path, entries: dict[str, Any]) -> None:
    assert notes(frozen(tmp_path, **entries)) == []


def test_the_prompts_of_a_table_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"p,n\n{WEIGHED},\nb,\n")

    (said,) = notes(frozen(tmp_path, rows={"file": "t.csv", "bind": {"prompt": "p", "negative_prompt": "n"}}))

    assert said.startswith(f"1 prompt weighs words, such as '{WEIGHED}'")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param({"prompt": "a fox <lora:ink:0.8>"}, "prompt = '<lora:ink:0.8>': LoRAs are not named in prompts; "
                     "take it out and write loras: [{model: ink, scale: 0.8}]", id="prompt"),
        pytest.param({"axes": {"negative_prompt": [None, "<lora:ink>"]}}, "negative_prompt = '<lora:ink>'", id="axis"),
        pytest.param({"axes": {"prompt": {"template": "a {x}", "values": {"x": ["fox", "<lora:ink:1>"]}}}},
                     "prompt = '<lora:ink:1>'", id="word of a template"),
        pytest.param({"prompt": "<lora:ink:1>", "weighting": "a1111"}, "prompt = '<lora:ink:1>'", id="with weights"),
    ],
)  # fmt: skip
def test_a_lora_in_a_prompt_is_refused_with_the_key_that_does_it(
    tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        frozen(tmp_path, **entries)

    assert str(caught.value).startswith(message)


QUOTA = {"low_variance": "reject", "on_reject": "next_seed"}
TWO_CLASSES = "p,class\na,x\nb,x\nc,y\n"  # eight images of x, with four seeds


@pytest.mark.parametrize(
    ("entries", "most"),
    [
        pytest.param({"axes": {"prompt": ["a", "b"], "seed": [1, 2, 3]}, "quality": {"accept": 3}}, 3, id="a prompt"),
        pytest.param({"axes": {"prompt": ["a", "b", "a"], "seed": [1]}, "quality": {"accept": 2}}, 2, id="one twice"),
        pytest.param({"axes": {"seed": {"count": 4}}, "quality": {"accept": 8, "per": ["class"]},
                      "rows": {"file": "t.csv", "bind": {"prompt": "p"}, "labels": ["class"]}}, 8, id="a label"),
        pytest.param({"axes": {"prompt": ["a", "b"], "seed": {"derive": 4}}, "quality": {"accept": 8, "per": []}}, 8,
                     id="the job"),
        pytest.param({"axes": {"seed": {"count": 90}}, "sample": {"count": 7}, "quality": {"accept": 7}}, 7,
                     id="a sample"),
    ],
)  # fmt: skip
def test_a_quota_beyond_what_the_job_declares_is_noted(tmp_path: Path, entries: dict[str, Any], most: int) -> None:
    (tmp_path / "t.csv").write_text(TWO_CLASSES)
    within, beyond = ({**QUOTA, **entries["quality"], "accept": accept} for accept in (most, most + 1))

    assert notes(frozen(tmp_path, **{**entries, "quality": within})) == []
    (said,) = notes(frozen(tmp_path, **{**entries, "quality": beyond}))

    assert said.startswith(f"quality.accept = {most + 1} cannot be reached: the job declares at most {most} of a cell")


def test_a_quota_of_cells_too_many_to_count_is_not_judged(tmp_path: Path) -> None:
    words = [str(number) for number in range(400)]
    axes = {"prompt": {"template": "{x} {y}", "values": {"x": words, "y": words}}}

    assert notes(frozen(tmp_path, axes=axes, quality={**QUOTA, "accept": 10**6})) == []
