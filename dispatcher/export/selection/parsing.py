"""From the text of `--where` to its tree: recursive descent, bounded in depth. Pure.

or      = and {"or" and}                       and = not {"and" not}
not     = ["not"] (compare | "(" or ")")
compare = name [sign value | ["not"] "in" "(" value {"," value} ")" | ["not"] ("like" | "ilike") text
                | "is" ["not"] "null"]
name    = word | "label." word | "score." word, where a word may stand in double quotes
value   = number | 'text' | true | false
"""

from typing import Final

from dispatcher.export.selection.tokens import Token, refusal, tokenize
from dispatcher.export.selection.tree import (
    LABEL,
    SCORE,
    All,
    Compare,
    Condition,
    Either,
    IsNull,
    Like,
    Name,
    Not,
    OneOf,
    Operator,
    Truth,
    Value,
)

MAX_DEPTH: Final = 50
MAX_VALUES: Final = 500  # of one `in`, below what databases take
_SIGNS: Final[dict[str, Operator]] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "like", "ilike", "is", "null", "true", "false"})


def parse(text: str) -> Condition:
    """Read an expression. Raises InvalidSpec that says where it breaks."""
    return _Parser(text).whole()


def parse_name(text: str) -> Name:
    """Read the name of a column, a label or a score alone, as `--caption` takes it. Raises InvalidSpec."""
    parser = _Parser(text)
    name = parser.name()
    parser.require_end()
    return name


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        found = self._any()
        self.require_end()
        return found

    def require_end(self) -> None:
        if self._peek.kind == "end":
            return
        before = self._tokens[self._next - 1]
        if before.kind in ("name", "quoted"):  # a column alone: what follows was meant as a comparison
            raise self._refuse("expected a comparison, such as = 'ddim', < 8, in (1, 2) or is null")
        raise self._refuse("expected 'and', 'or' or the end")

    @property
    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._peek
        self._next += token.kind != "end"
        return token

    def _is(self, word: str) -> bool:
        """Whether the next word is this keyword or sign; takes it if so."""
        token = self._peek
        same = token.kind in ("name", "sign") and token.text.lower() == word
        self._next += same
        return same

    def _refuse(self, rule: str) -> Exception:
        return refusal(self._text, self._peek.at, rule)

    def _require(self, word: str) -> None:
        if not self._is(word):
            raise self._refuse(f"expected {word!r}")

    def _any(self) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refuse(f"more than {MAX_DEPTH} parentheses inside each other")
        parts = [self._all()]
        while self._is("or"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._maybe_not()]
        while self._is("and"):
            parts.append(self._maybe_not())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _maybe_not(self) -> Condition:
        negated = False
        while self._is("not"):
            negated = not negated
        if self._is("("):
            found = self._any()
            self._require(")")
        else:
            found = self._compare()
        return Not(found) if negated else found

    def _compare(self) -> Condition:
        name = self.name()
        token = self._peek
        if token.kind == "sign" and token.text in _SIGNS:
            self._take()
            return Compare(name, _SIGNS[token.text], self._value())
        if self._is("is"):
            negated = self._is("not")
            self._require("null")
            return Not(IsNull(name)) if negated else IsNull(name)
        if self._is("not"):
            return Not(self._of_set(name, must=True) or Truth(name))
        return self._of_set(name, must=False) or Truth(name)

    def _of_set(self, name: Name, *, must: bool) -> Condition | None:
        if self._is("in"):
            return OneOf(name, self._values())
        for word in ("like", "ilike"):
            if self._is(word):
                token = self._peek
                if token.kind != "text":
                    raise self._refuse(f"expected a text in single quotes after {word}")
                return Like(name, self._take().text, any_case=word == "ilike")
        if must:
            raise self._refuse("expected 'in', 'like' or 'ilike' after 'not'")
        return None

    def name(self) -> Name:
        token = self._peek
        if token.kind == "quoted":
            return Name(self._take().text)
        if token.kind != "name" or token.text.lower() in _KEYWORDS:
            raise self._refuse("expected the name of a column, such as scheduler or label.color")
        self._take()
        if token.text in (LABEL, SCORE) and self._is("."):
            word = self._peek
            if word.kind not in ("name", "quoted"):
                raise self._refuse(f"expected a name after {token.text}.")
            self._take()
            return Name(word.text, token.text)  # type: ignore[arg-type]
        return Name(token.text)

    def _values(self) -> tuple[Value, ...]:
        self._require("(")
        values = [self._value()]
        while self._is(","):
            values.append(self._value())
        if len(values) > MAX_VALUES:
            raise self._refuse(f"more than {MAX_VALUES} values in one list")
        self._require(")")
        return tuple(values)

    def _value(self) -> Value:
        token = self._peek
        if token.kind == "text":
            return self._take().text
        if token.kind == "number":
            self._take()
            return int(token.text) if token.text.lstrip("+-").isdecimal() else float(token.text)
        if self._is("true"):
            return True
        if self._is("false"):
            return False
        rule = "nothing equals null; write 'is null'" if self._is("null") else "expected a number or a text in quotes"
        raise self._refuse(rule)
