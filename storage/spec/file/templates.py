"""From a template as a job file has it to lists of words, each name and alternative and wildcard with its own."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from pathlib import PurePosixPath
from typing import Any, Final, Protocol

from storage.errors import InvalidSpec, UnreadableFile
from storage.spec.dimension import Template
from storage.spec.fields import PROMPT_KEYS
from storage.spec.file.jobfile import TemplateSource
from storage.spec.file.tables import Tables
from storage.spec.file.tables.source import MAX_TABLE_BYTES
from storage.spec.file.values import checked
from storage.spec.template import CHOICE, Piece, is_wildcard_name, parse_line, parse_template, render

MAX_PLACES: Final = 10**15  # of one axis; far above the cap on a job, far below what a counter holds
MAX_WORDS: Final = 1_000_000  # that the lines of one wildcard stand for


class ReadWords(Protocol):
    """What reads a list of words: `SourceReader.words`."""

    def __call__(self, source: Any, *, path: str) -> list[Any]:
        """The values of a list, a text file or a column."""


def template_of(key: str, source: TemplateSource, *, words: ReadWords, tables: Tables, path: str) -> Template:
    """Turn a template into a dimension.

    Args:
        key: The recipe key.
        source: As parsed by JobFile.
        words: Reads what stands under `values`.
        tables: Reads files of wildcards.
        path: Where the template stands, for messages.

    Raises:
        InvalidSpec: It breaks a rule, or a name has no words.
        UnreadableFile: A file of words cannot be read.
    """
    if key not in PROMPT_KEYS:
        raise InvalidSpec(path, source.template, "a template fits prompts only")
    files = None if source.wildcards is None else Wildcards(source.wildcards, tables, path=path)
    lists: dict[str, tuple[str, ...]] = {}
    for name, piece in _pieces(source, path=path).items():
        given, where = _given(piece, source, words=words, files=files, path=path)
        lists[name] = tuple(_word(text, path=f"{where}[{place}]") for place, text in enumerate(given))
    if not lists:
        raise InvalidSpec(f"{path}.template", source.template, "has no {names}; write it as a list of one text")
    if prod(map(len, lists.values())) > MAX_PLACES:
        raise InvalidSpec(path, source.template, f"has more than {MAX_PLACES:.0e} texts")
    longest = {name: max(texts, key=lambda text: len(text.encode())) for name, texts in lists.items()}
    checked(key, render(source.template, longest), path=path)
    return Template(key, source.template, tuple(lists), tuple(lists.values()))


def _given(
    piece: Piece, source: TemplateSource, *, words: ReadWords, files: "Wildcards | None", path: str
) -> tuple[Sequence[Any], str]:
    """What takes the place of a piece, and where the job file says it."""
    name = piece.name or ""
    if piece.is_wildcard and files is not None:
        return files.words(name), f"{path}.wildcards {name}"
    if piece.alternatives:
        return piece.alternatives, f"{path}.template {piece.text}"
    where = f"{path}.values.{name}"
    given = words(source.values[name], path=where)
    if not given:
        raise InvalidSpec(where, source.values[name], "must not be empty")
    return given, where


def _pieces(source: TemplateSource, *, path: str) -> dict[str, Piece]:
    """What a template has words for, by name; its names and its values must agree."""
    try:
        parsed = parse_template(source.template)
    except ValueError as error:
        raise InvalidSpec(f"{path}.template", source.template, str(error)) from None
    both = next((piece.text for piece in parsed if piece.is_wildcard and piece.name is None), None)
    if both is not None and source.wildcards is not None:
        raise InvalidSpec(f"{path}.template", source.template, f"has {both} and a name like it; rename one of the two")
    named = {piece.name: piece for piece in parsed if piece.name is not None}
    pieces = {name: piece for name, piece in named.items() if source.wildcards is not None or not piece.is_wildcard}
    for name, piece in pieces.items():
        if not piece.is_wildcard and not piece.alternatives and name not in source.values:
            raise InvalidSpec(f"{path}.template", source.template, f"values has no {name!r}")
    for name in source.values:
        if name.startswith(CHOICE) and name in pieces and pieces[name].alternatives:
            raise InvalidSpec(f"{path}.values.{name}", None, "is the name of alternatives in the template; rename it")
        if name not in pieces or pieces[name].is_wildcard:
            raise InvalidSpec(f"{path}.values.{name}", source.values[name], f"the template has no {{{name}}}")
    return pieces


def _word(value: object, *, path: str) -> str:
    """One value of a template."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidSpec(path, value, "must be text; put it in quotes")
    try:
        text = str(value)
    except ValueError:  # Python does not spell out numbers of more than 4300 digits
        raise InvalidSpec(path, value, "must be text; put it in quotes") from None
    checked("prompt", text, path=path)
    return text


class Wildcards:
    """A folder of word files: one word or text a line, lines from # on are comments.

    A line may hold alternatives and other wildcards itself, and then stands for all of its texts.
    """

    def __init__(self, folder: str, tables: Tables, *, path: str) -> None:
        """Read files of `folder`; `path` is where the template stands."""
        self._folder = folder
        self._tables = tables
        self._path = path
        self._known: dict[str, list[str]] = {}

    def words(self, name: str, *, within: tuple[str, ...] = ()) -> list[str]:
        """What a wildcard stands for, in the order of its file.

        Args:
            name: Such as color, or animals/cats.
            within: The wildcards whose lines named it.

        Raises:
            InvalidSpec: It is no name of a file, or its lines go round or stand for too much.
            UnreadableFile: The file cannot be read, or has no words.
        """
        if not is_wildcard_name(name):
            rule = "must name a file of the folder, such as __color__ or __animals/cats__"
            raise InvalidSpec(f"{self._path}.template", f"__{name}__", rule)
        if name in within:
            chain = " > ".join((*within, name))
            raise InvalidSpec(f"{self._path}.wildcards", self._folder, f"goes round: {chain}")
        if name not in self._known:
            self._known[name] = self._read(name, within=(*within, name))
        return self._known[name]

    def _read(self, name: str, *, within: tuple[str, ...]) -> list[str]:
        file = str(PurePosixPath(self._folder) / f"{name}.txt")
        lines = self._tables.lines(file, key=f"{self._path}.wildcards", comments="#")
        words: list[str] = []
        size = 0
        for line in lines:
            for word in self._texts(line.strip(), file=file, within=within):
                words.append(word)
                size += len(word)
                if len(words) > MAX_WORDS or size > MAX_TABLE_BYTES:
                    raise UnreadableFile(file, f"stands for more than {MAX_WORDS} texts; divide it")
        return words

    def _texts(self, line: str, *, file: str, within: tuple[str, ...]) -> Iterator[str]:
        try:
            pieces = list(parse_line(line))
        except ValueError as error:
            raise UnreadableFile(file, f"{line!r}: {error}") from None
        lists = [
            self.words(piece.name, within=within) if piece.name is not None else piece.alternatives or (piece.text,)
            for piece in pieces
        ]
        return map("".join, product(*lists))
