"""The weight syntax of prompts, read without a tokenizer."""

from itertools import pairwise
from math import isclose, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.spec.prompt_syntax import WEIGHT_LIMIT, LoraTag, Piece, find_lora_tags, has_weights, parse

plain = st.text(st.sampled_from("abc ,.:\n<>é|{}")).filter(bool)
symbols = st.lists(st.sampled_from([*"()[]:\\ a1.-+,", "BREAK", "\n"])).map("".join)
numbers = st.floats(0.1, 2).map(lambda value: round(value, 2))


@given(text=plain)
def test_text_without_brackets_is_one_piece_of_weight_one(text: str) -> None:
    assert parse(text) == [[Piece(text)]]


@given(text=st.one_of(st.text(), symbols))
def test_every_text_can_be_read_and_its_weights_are_finite(text: str) -> None:
    sections = parse(text)

    assert sections
    assert all(sections)
    assert all(abs(piece.weight) <= WEIGHT_LIMIT for section in sections for piece in section)
    assert isinstance(has_weights(text), bool)
    assert isinstance(find_lora_tags(text), list)


@given(text=st.lists(st.sampled_from([*"()[]a ,", ":1.3)", ":.5)", "BREAK"])).map("".join))
def test_weights_are_positive_where_no_number_says_otherwise(text: str) -> None:
    assert all(piece.weight > 0 for section in parse(text) for piece in section)


@given(
    words=st.lists(st.tuples(plain, st.sampled_from(["({})", "[{}]", "(({}:1.3))", "[({}:0.7)]", "{}"])), min_size=1)
)
def test_the_pieces_together_are_the_text_without_its_syntax(words: list[tuple[str, str]]) -> None:
    written = "".join(shape.format(word) for word, shape in words)

    (section,) = parse(written)

    assert "".join(piece.text for piece in section) == "".join(word for word, _ in words)
    assert all(left.weight != right.weight for left, right in pairwise(section))


@given(weights=st.lists(st.one_of(numbers, st.sampled_from(["(", "["])), max_size=5))
def test_nested_weights_multiply(weights: list[float | str]) -> None:
    written = "x"
    factors = []
    for weight in weights:
        written = {"(": f"({written})", "[": f"[{written}]"}.get(str(weight), f"({written}:{weight})")
        factors.append({"(": 1.1, "[": 1 / 1.1}.get(str(weight)) or float(weight))

    ((piece,),) = parse(written)

    assert piece.text == "x"
    assert isclose(piece.weight, prod(factors), rel_tol=1e-9)


@given(text=st.text(st.sampled_from("()[]\\a :1")))
def test_escaped_text_is_read_back_as_it_was(text: str) -> None:
    escaped = "".join(f"\\{sign}" if sign in "()[]\\" else sign for sign in text)

    assert parse(escaped) == [[Piece(text)]]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        pytest.param("", [("", 1)], id="empty"),
        pytest.param("a (b) c", [("a ", 1), ("b", 1.1), (" c", 1)], id="round"),
        pytest.param("a [b]", [("a ", 1), ("b", 1 / 1.1)], id="square"),
        pytest.param("((b))", [("b", 1.1 * 1.1)], id="twice"),
        pytest.param("(b : 1.5 )", [("b ", 1.5)], id="number with spaces"),
        pytest.param("(b:.5)(c:2.)", [("b", 0.5), ("c", 2)], id="short numbers"),
        pytest.param("(b:0) (c:-1)", [("b", 0), (" ", 1), ("c", -1)], id="zero and below"),
        pytest.param("(a (b:2) c)", [("a ", 1.1), ("b", 2.2), (" c", 1.1)], id="nested"),
        pytest.param("(a:b:2)", [("a:b", 2)], id="colon inside"),
        pytest.param("(16:9)", [("16", 9)], id="a ratio is a weight"),
        pytest.param("a (b", [("a ", 1), ("b", 1.1)], id="never closed"),
        pytest.param("(a (b)", [("a ", 1.1), ("b", 1.1 * 1.1)], id="outer never closed"),
        pytest.param("a [b", [("a ", 1), ("b", 1 / 1.1)], id="square never closed"),
        pytest.param("a) b]", [("a) b]", 1)], id="never opened"),
        pytest.param("a:1.3)", [("a:1.3)", 1)], id="number never opened"),
        pytest.param("[a:1.3) b]", [("a:1.3) b", 1 / 1.1)], id="number in square brackets"),
        pytest.param("(a:1.2.3)", [("a:1.2.3", 1.1)], id="no number"),
        pytest.param("([a) b]", [("a", 1.1 / 1.1), (" b", 1 / 1.1)], id="crossed"),
        pytest.param("(a)(b)", [("ab", 1.1)], id="equal neighbours"),
        pytest.param(r"\(a\) c\d", [("(a) cd", 1)], id="escapes"),
        pytest.param("()", [("", 1)], id="nothing inside"),
        pytest.param(f"(a:{'9' * 400})", [("a", WEIGHT_LIMIT)], id="without measure"),
        pytest.param("(" * 9000 + "[" * 9000 + "a", [("a", pytest.approx(0, abs=1e-9))], id="deep"),
    ],
)
def test_brackets_weigh_as_in_the_web_ui(text: str, pieces: list[tuple[str, float]]) -> None:
    (section,) = parse(text)

    assert [piece.text for piece in section] == [text for text, _ in pieces]
    assert [piece.weight for piece in section] == pytest.approx([weight for _, weight in pieces])


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        pytest.param("a BREAK b", ["a", "b"], id="between"),
        pytest.param("a, BREAK\n\n b", ["a,", "b"], id="spaces around it go"),
        pytest.param("BREAK a BREAK", ["", "a", ""], id="at the ends"),
        pytest.param("(a BREAK b)", ["a", "b"], id="inside brackets"),
        pytest.param("BREAKING aBREAK break", ["BREAKING aBREAK break"], id="only as a word"),
    ],
)
def test_break_divides_a_prompt(text: str, sections: list[str]) -> None:
    assert ["".join(piece.text for piece in section) for section in parse(text)] == sections


def test_brackets_weigh_on_across_a_break() -> None:
    assert parse("(a BREAK b:1.5) c") == [[Piece("a", 1.5)], [Piece("b", 1.5), Piece(" c", 1.0)]]


@pytest.mark.parametrize(
    ("text", "written_for_weights"),
    [
        pytest.param("a fox (vulpes)", False, id="ordinary brackets"),
        pytest.param("a fox [sic]", False, id="ordinary square brackets"),
        pytest.param("a fox: red", False, id="none"),
        pytest.param("(a fox:1.1)", True, id="number"),
        pytest.param("((a fox))", True, id="twice"),
        pytest.param("[[a fox]]", True, id="twice square"),
        pytest.param(r"\(a fox:1.3\)", False, id="escaped"),
    ],
)
def test_weights_are_told_from_ordinary_brackets(text: str, written_for_weights: bool) -> None:
    assert has_weights(text) is written_for_weights


def test_lora_tags_are_found_in_order() -> None:
    text = "a fox <lora:ink:0.8>, <lora:more detail> <lora:x:y> <lora:two:0.5:0.7> <lora:> <fox> <lora:open"

    assert find_lora_tags(text) == [
        LoraTag("<lora:ink:0.8>", "ink", 0.8),
        LoraTag("<lora:more detail>", "more detail", 1.0),
        LoraTag("<lora:x:y>", "x", 1.0),
        LoraTag("<lora:two:0.5:0.7>", "two", 0.5),
    ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["(a", "[", ")", ":1.3)", " ", ": ", "\\", "BREAK ", "<lora:", "1"])
def test_a_long_text_is_read_quickly(unit: str) -> None:
    text = unit * (200_000 // len(unit))

    assert parse(text)
    assert find_lora_tags(text) == []
