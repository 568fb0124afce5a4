"""YAML (or JSON) into plain data, at a cost that grows with the text: the one door for YAML that people hand us.

Beside what safe loading leaves out (tags that build objects), a small text can unpack to more than memory holds, or
take hours: aliases of aliases, merges of merges, nesting, numbers of a million digits. Each is refused where it stands.
"""

from collections.abc import Hashable
from typing import Any, Final

import yaml

from storage.errors import UnreadableFile

MAX_DEPTH: Final = 64  # levels
MAX_ADDED: Final = 1_000_000  # values that aliases and merges may add to those that are written down
MAX_DIGITS: Final = 10_000  # of one number; sixties (1:30:00) take long to work out
_SHOWN: Final = 200  # characters of a complaint


class _Loader(yaml.SafeLoader):
    """Safe YAML with limits, which refuses a key given twice instead of keeping the last one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._added = 0
        self._size = 0  # of the node that is being read: itself and all below it
        self._sizes: dict[int, int] = {}  # by id; the nodes of a document live as long as it

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read a node, counting how deep it lies and what its aliases unpack to."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        around, self._size = self._size, 1
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias:
            if id(node) not in self._sizes:
                raise yaml.composer.ComposerError(None, None, "an alias that stands for what it is part of", mark)
            self._size = self._sizes[id(node)]
            self._add(self._size, mark)
        else:
            self._sizes[id(node)] = self._size
        self._size += around
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Look at the keys as they stand in the file, before any merge."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge, keeping one entry a key: merges of merges would grow without end."""
        before = len(node.value)
        super().flatten_mapping(node)
        self._add(len(node.value) - before, node.start_mark)
        last: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            last[(key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key] = (key, value)
        node.value = list(last.values())

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Refuse a number that takes long to work out."""
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
            problem = f"a number of {len(node.value)} characters; put it in quotes if it is text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_scalar(node)

    def _add(self, count: int, mark: Any) -> None:
        self._added += max(0, count)
        if self._added > MAX_ADDED:
            problem = f"aliases and merges unpack to more than {MAX_ADDED} values"
            raise yaml.composer.ComposerError(None, None, problem, mark)


_NUMBERS: Final[frozenset[Hashable]] = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML (or JSON) without running anything. Raises UnreadableFile with line and column."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UnreadableFile(f"{where}{place}", f"not YAML: {_brief(error.problem)}") from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise UnreadableFile(where, f"not YAML: {_brief(error)}") from None


def _brief(problem: object) -> str:
    line = (str(problem).strip() or type(problem).__name__).splitlines()[0]
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
