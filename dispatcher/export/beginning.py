"""What an export starts from: an empty place, or one that an earlier run left with an index.

An index binds: other options or other jobs would mix two data sets in one place, so they are refused by name.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement

from dispatcher.export.formats import LAYOUTS
from dispatcher.export.index import INDEX, Index
from dispatcher.export.loading import Caption, caption_of
from dispatcher.export.options import DEFAULT_CAPTION, ExportOptions, differences
from dispatcher.export.planning import round_down
from dispatcher.export.selection.conditions import check_pictures, condition, field_of
from dispatcher.export.selection.parsing import parse
from dispatcher.export.selection.tree import Name
from dispatcher.export.sources import Source, label_columns, labels_of
from dispatcher.export.targets import Target, TargetRefused
from dispatcher.export.withholding import Withheld, check_withheld, unnamed, withheld_of
from dispatcher.views.naming import check_pattern
from storage.errors import InvalidSpec, UserError
from storage.spec.fields import IMAGE_KEYS
from storage.sql import Database, selecting
from storage.sql.selecting import Field

MAX_CLASSES = 10_000
_CHANCE = ("worker",)  # what differs from run to run: names of files must not
_CHOOSE = "choose a label or a column such as scheduler"


class ExportRefused(UserError):
    """An export cannot go on there. Args: target, reason."""

    text = "--to {0}: {1}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is asked for, checked."""

    sources: Sequence[Source]
    options: ExportOptions
    labels: tuple[str, ...]  # of all jobs
    where: ColumnElement[bool] | None
    caption: Caption
    cls: Caption | None
    withheld: Withheld | None = None  # of an export without prompts

    @property
    def columns(self) -> tuple[str, ...]:
        """The labels that get a column of their own."""
        hidden = frozenset[str]() if self.withheld is None else self.withheld.labels
        return label_columns([name for name in self.labels if name not in hidden])


def check_wish(sources: Sequence[Source], options: ExportOptions) -> Wish:
    """Check options against the jobs. Raises InvalidSpec, UnknownName."""
    labels = labels_of(sources)
    where = None if options.where is None else _where(options.where, sources, labels=labels)
    cls = None if options.cls is None else caption_of(options.cls, "--cls", labels=labels)
    if cls is not None:
        _ = _class_field(cls, labels=labels)
    caption = caption_of(options.caption or DEFAULT_CAPTION, "--caption", labels=labels)
    _ = options.splits  # checked here, before anything is made
    if options.name is not None:
        check_pattern(options.name, labels=labels, but=_CHANCE)
    withheld = None if options.prompts else withheld_of(sources)
    if withheld is not None:
        check_withheld(options, withheld.labels)
        sources = [unnamed(source) for source in sources]
    return Wish(
        sources=sources, options=options, labels=labels, where=where, caption=caption, cls=cls, withheld=withheld
    )  # fmt: skip


def _where(text: str, sources: Sequence[Source], *, labels: Sequence[str]) -> ColumnElement[bool]:
    tree = parse(text)
    check_pictures(tree, names=_pictures(sources))
    return condition(tree, labels=labels)


def _pictures(sources: Iterable[Source]) -> Mapping[str, set[str]]:
    """What the jobs call each of their input pictures, by hash."""
    found = defaultdict[str, set[str]](set)
    for source in sources:
        for sha256, facts in source.job.spec.inputs.items():
            found[sha256].add(str(facts.get("name", sha256)))
    return found


def _class_field(cls: Caption, *, labels: Sequence[str]) -> Field:
    """What classes are told apart by. Raises InvalidSpec, UnknownName."""
    if not cls.is_label and cls.column in IMAGE_KEYS:
        raise InvalidSpec("--cls", cls.column, f"tells pictures, which are no classes; {_CHOOSE}")
    field = field_of(Name(cls.column, "label" if cls.is_label else ""), labels=labels)
    if field.kind != "text":
        raise InvalidSpec("--cls", cls.column, f"holds no texts; {_CHOOSE}")
    return field


def open_index(target: Target, wish: Wish, *, append: bool) -> Index | None:
    """The index of an export that is there, or None for a new one.

    Raises:
        ExportRefused: It was made of other jobs or with other options.
        TargetRefused: The place holds something else.
        IndexRefused: The index is damaged, or of another version.
    """
    if not target.exists(INDEX):
        stranger = _stranger(target)
        if stranger is not None:
            raise TargetRefused(target.address, f"holds {stranger!r} and is no export; choose an empty place")
        if append:
            raise ExportRefused(target.address, "there is no export to append to; leave --append out")
        return None
    index = Index.decode(target.get(INDEX), place=f"{target.address}/{INDEX}")
    if not append and not index.shards and not index.rejected and _stranger(target) is None:
        return None  # a run that ended before its first file pins nothing
    _check_options(target, index, wish)
    _check_jobs(target, index, wish, append=append)
    return index


def _stranger(target: Target) -> str | None:
    """A file that is none of the export's own books."""
    return next((name for name in target.list() if not name.startswith(".farm/")), None)


def new_index(database: Database, wish: Wish) -> Index:
    """The index of a new export."""
    parts = tuple(source.part for source in wish.sources)
    ids = [part.id for part in parts]
    layout = LAYOUTS[wish.options.format]
    with database.read() as connection:
        mean = selecting.mean_bytes(connection, ids)
    fitting = round_down(layout.aim_bytes / mean if mean else layout.most_images, most=layout.most_images)
    index = Index(
        format=wish.options.format, options=wish.options.to_json(), jobs=parts,
        shard_images=wish.options.shard_images or fitting, labels=wish.columns,
        plain=ids[0] if len(ids) == 1 else None,
    )  # fmt: skip
    return with_classes(database, wish, index)


def grown_index(database: Database, wish: Wish, index: Index) -> Index:
    """The index at the start of a further round: jobs as they are now, classes that are new behind the others."""
    return with_classes(database, wish, replace(index, jobs=tuple(source.part for source in wish.sources)))


def with_classes(database: Database, wish: Wish, index: Index) -> Index:
    """The index with the classes of what its jobs have made by now, new ones behind the others.

    A job may still run, so a plan needs the classes as they are once it is frozen.

    Raises:
        InvalidSpec: An image has no class, or there are too many.
    """
    if wish.cls is None:
        return index
    known = frozenset(index.classes)
    added = [name for name in _classes(database, wish, wish.cls, index) if name not in known]
    return replace(index, classes=(*index.classes, *added))


def _classes(database: Database, wish: Wish, cls: Caption, index: Index) -> tuple[str, ...]:
    field, ids = _class_field(cls, labels=wish.labels), [part.id for part in index.jobs]
    with database.read() as connection:
        found = selecting.values_of(connection, ids, field, where=wish.where, limit=MAX_CLASSES + 1)
    if None in found:
        shown = f"label.{cls.column}" if cls.is_label else cls.column
        raise InvalidSpec("--cls", cls.column, f"some images have none; add --where '{shown} is not null'")
    if len(found) > MAX_CLASSES:
        raise InvalidSpec("--cls", cls.column, f"has more than {MAX_CLASSES} different values")
    return tuple(name for name in found if name is not None)


def _check_options(target: Target, index: Index, wish: Wish) -> None:
    changed = differences(
        {**index.options, "format": index.format}, {**wish.options.to_json(), "format": wish.options.format}
    )
    if changed:
        rule = f"was exported with other options ({'; '.join(changed)}); repeat them, or export to another place"
        raise ExportRefused(target.address, rule)


def _check_jobs(target: Target, index: Index, wish: Wish, *, append: bool) -> None:
    old, new = index.jobs, [source.part for source in wish.sources]
    known = [part.id for part in new[: len(old)]]
    if known != [part.id for part in old] or (len(new) > len(old) and not append):
        shown = " ".join(f"{part.name} ({part.id})" for part in old)
        hint = "name these first, and further ones with --append" if len(new) >= len(old) else "name all of them"
        raise ExportRefused(target.address, f"is an export of {shown}; {hint}, or export to another place")
    if append:
        return
    for was, now in zip(old, new, strict=True):
        if was.spec_hash != now.spec_hash:
            rule = f"job {now.name} ({now.id}) was extended since; --append adds what is new"
            raise ExportRefused(target.address, rule)
