"""An export from its start to its card.

    plan frozen ─► shards that are not finished, two at a time: read ahead, check, finish, write ─► place, index ─► card

A shard counts when the index names it, and the index is written after each. So whatever happens, a run that is
repeated goes on, and its shards are the same to the byte.
"""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final

from dispatcher.export.beginning import Wish, grown_index, new_index, open_index, with_classes
from dispatcher.export.checking import sound
from dispatcher.export.counting import Count, Progress, Say
from dispatcher.export.formats import LAYOUTS, Layout, Setting
from dispatcher.export.index import INDEX, REJECTED, Index, Shard
from dispatcher.export.loading import Loader
from dispatcher.export.lost import BROKEN_TABLE, left_out, still_lost, table_rows
from dispatcher.export.pictures import Finishing, finishing_of
from dispatcher.export.planning import Choice, PlannedShard, summary
from dispatcher.export.rounds import Selection, freeze_plan, read_plans, settled_plans
from dispatcher.export.shards.making import Maker
from dispatcher.export.shards.placing import Drafted, Placing
from dispatcher.export.shards.prefetch import in_order
from dispatcher.export.targets import Target
from dispatcher.farm import Farm
from dispatcher.provenance.columns import with_labels
from storage.errors import InvalidSpec
from storage.marks.credentials import Signing
from storage.sql import selecting

_AT_ONCE: Final = 2  # shards: the SHA-256 of one is taken front to back, so by one core at most
_READ_AHEAD: Final = 2  # pictures a shard and reader: a slow one stops nobody, and memory holds them


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How an export is done; nothing here decides a byte."""

    workers: int | None = None  # pictures read at a time; None: as many as the store does best with
    append: bool = False
    check: bool = False
    skip_broken: bool = False
    signing: Signing | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What an export came to."""

    index: Index
    images: int  # exported by this run
    kept: int  # shards of earlier runs
    remade: tuple[str, ...]  # shards of earlier runs that were missing or damaged

    @property
    def left_out(self) -> int:
        """Images that are lost or damaged."""
        return self.index.rejected[BROKEN_TABLE].rows if BROKEN_TABLE in self.index.rejected else 0

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        shards = self.index.shards.values()
        return {
            "format": self.index.format, "jobs": [job.id for job in self.index.jobs], "splits": self.index.splits,
            "images": sum(shard.rows for shard in shards), "new": self.images, "shards": len(shards),
            "bytes": sum(shard.bytes for shard in shards), "left_out": self.left_out,
            "not_exported": sum(shard.rows for shard in self.index.rejected.values()), "remade": list(self.remade),
        }  # fmt: skip


class Exporter:
    """One run of `farm export`."""

    def __init__(self, farm: Farm, target: Target, wish: Wish, way: Way) -> None:
        self._farm = farm
        self._target = target
        self._wish = wish
        self._way = way
        self._workers = way.workers or farm.store.reads_at_once
        options = wish.options
        self._choice = Choice(
            splits=options.splits, with_rejected=options.with_rejected, without=frozenset(options.without)
        )
        self._finishing = finishings(wish, way.signing)
        self._selection = Selection(
            database=farm.database, sources=wish.sources, choice=self._choice, where=wish.where, limit=options.limit
        )

    def forecast(self) -> dict[str, object]:
        """What a new export would hold, with nothing written."""
        index = new_index(self._farm.database, self._wish)
        found = summary(self._selection.first_round(shard_images=index.shard_images))
        with self._farm.database.read() as connection:
            mean = selecting.mean_bytes(connection, [part.id for part in index.jobs])
        rejected = found.pop(REJECTED, {"rows": 0})
        images = sum(entry["rows"] for entry in found.values())
        return {
            "format": index.format, "splits": dict(sorted(found.items())), "images": images,
            "rejected": rejected["rows"], "shards": sum(entry["shards"] for entry in found.values()),
            "shard_images": index.shard_images, "bytes_rendered": round(images * mean),
        }  # fmt: skip

    def run(self, say: Say) -> Outcome:
        """Export. Safe to repeat: it goes on behind the last finished shard.

        Raises:
            UserError: The place holds another export, or another one works there.
            ImageUnreadable: An object is missing or damaged.
            StoreAway: Repeat it.
            DiskFull: Repeat it when there is room.
        """
        self._target.prepare()
        with self._target.hold():
            return self._run(say)

    def _run(self, say: Say) -> Outcome:
        index = open_index(self._target, self._wish, append=self._way.append)
        is_new = index is None
        if index is None:
            index = new_index(self._farm.database, self._wish)
            freeze_plan(self._target, 0, self._selection.first_round(shard_images=index.shard_images))
            index = with_classes(self._farm.database, self._wish, index)  # of whatever the plan found
            self._save(index)
        found = replace(index, jobs=tuple(source.part for source in self._wish.sources[: len(index.jobs)]))
        index, remade = self._inspected(found)
        kept = len(index.shards)
        index, images = self._fill(index, say)
        if self._way.append and not is_new:
            index, more = self._grow(index, say)
            images += more
        self.finish(index)
        return Outcome(index=index, images=images, kept=kept, remade=remade)

    def _grow(self, index: Index, say: Say) -> tuple[Index, int]:
        """Add a round of what is new, if there is anything. Returns the index and the number of images."""
        grown = grown_index(self._farm.database, self._wish, index)
        loader = self._loader(grown)

        def stay(lost: set[tuple[str, int]]) -> set[tuple[str, int]]:
            looks = lost and self._way.skip_broken
            return still_lost(lost, database=self._farm.database, loader=loader) if looks else set()

        earlier = settled_plans(self._target, index.rounds)
        further = self._selection.next_round(earlier, grown, name_of=loader.layout.shard_name, but=stay)
        if not freeze_plan(self._target, index.rounds, further):
            return index, 0
        grown = with_classes(self._farm.database, self._wish, grown)
        grown = replace(grown, rounds=index.rounds + 1, complete=False)
        self._save(grown)
        return self._fill(grown, say)

    def _inspected(self, index: Index) -> tuple[Index, tuple[str, ...]]:
        """Take what is missing or damaged out of the index, so that it is made again."""
        bad = []
        for name, shard in [*index.shards.items(), *index.rejected.items()]:
            if not sound(self._target, name, shard, format_=index.format, read=self._way.check):
                index = index.without(name)
                bad.append(name)
        return index, tuple(bad)

    def _fill(self, index: Index, say: Say) -> tuple[Index, int]:
        """Make the shards that are planned and not finished. Returns the index and the number of images."""
        at_once = min(_AT_ONCE, self._workers)
        readers = ThreadPoolExecutor(self._workers, thread_name_prefix="export")
        makers = ThreadPoolExecutor(at_once, thread_name_prefix="export-shard")
        placing, count = Placing(self._target), Count(say, self._begun(index))
        maker = self._maker(index, readers, count)
        try:
            with closing(self._made(index, maker, makers, ahead=at_once)) as shards:
                for made in shards:
                    index = self._with(index, placing.begin(made) if isinstance(made, Drafted) else [made])
                    count.finished(len(index.shards))
            index = self._with(index, placing.wait())
            count.finished(len(index.shards))
            count.last()
            index = self._list_broken(index, maker)
        except BaseException:
            count.stop()
            self._with(index, placing.wait())  # what was whole before is kept
            raise
        finally:
            makers.shutdown(wait=True, cancel_futures=True)
            readers.shutdown(wait=True, cancel_futures=True)
            placing.close()
        index = replace(index, complete=True)
        self._save(index)
        return index, count.progress.done

    def _begun(self, index: Index) -> Progress:
        """What is to be done, nothing of it done."""
        layout = LAYOUTS[index.format](self._setting(index))
        todo, of = 0, 0
        for planned in read_plans(self._target, index.rounds):
            if planned.split != REJECTED:
                of += 1
                todo += 0 if index.has(layout.shard_name(planned)) else planned.rows
        return Progress(done=0, total=todo, bytes=0, shards=len(index.shards), of=of)

    def _made(
        self, index: Index, maker: Maker, pool: ThreadPoolExecutor, *, ahead: int
    ) -> Generator[Drafted | tuple[str, Shard]]:
        """What is not finished, in the order of the plan, several shards under way."""

        def make(planned: PlannedShard) -> Drafted | tuple[str, Shard]:
            return maker.list_rejected(planned, self._choice) if planned.split == REJECTED else maker.make(planned)

        def drop(made: Drafted | tuple[str, Shard]) -> None:
            if isinstance(made, Drafted):
                made.drafts.close()

        yield from in_order(self._unfinished(index, maker.layout), make, pool=pool, ahead=ahead, drop=drop)

    def _unfinished(self, index: Index, layout: Layout) -> Iterator[PlannedShard]:
        for planned in settled_plans(self._target, index.rounds):
            if planned.split == REJECTED:
                there = index.rejected.get(layout.metadata_name(planned))
                if there is None or there.rows != planned.rows:  # some of it was exported since
                    yield planned
            elif not index.has(layout.shard_name(planned)):
                yield planned

    def _with(self, index: Index, shards: Iterable[tuple[str, Shard]]) -> Index:
        """The index with further shards, which are in their places; written where there are any."""
        for name, shard in shards:
            index = index.with_shard(name, shard)
            self._save(index)
        return index

    def _maker(self, index: Index, pool: ThreadPoolExecutor, count: Count) -> Maker:
        return Maker(
            database=self._farm.database, target=self._target, layout=LAYOUTS[index.format](self._setting(index)),
            loader=self._loader(index), pool=pool, ahead=_READ_AHEAD * self._workers, tell=count.add,
            skip_broken=self._way.skip_broken,
        )  # fmt: skip

    def _loader(self, index: Index) -> Loader:
        wish = self._wish
        return Loader(
            store=self._farm.store, target=self._target, layout=LAYOUTS[index.format](self._setting(index)),
            sources={source.row.id: source for source in wish.sources}, finishing=self._finishing,
            prefixed=frozenset(source.row.id for source in wish.sources) - {index.plain}, labels=index.labels,
            caption=wish.caption, cls=wish.cls,
            classes=None if wish.cls is None else {name: place for place, name in enumerate(index.classes)},
            withheld=wish.withheld,
        )  # fmt: skip

    def _setting(self, index: Index) -> Setting:
        options = self._wish.options
        return Setting(
            columns=with_labels(index.labels), classes=index.classes if options.cls is not None else None,
            captions=options.captions, name=options.name,
        )  # fmt: skip

    def _list_broken(self, index: Index, maker: Maker) -> Index:
        """Write the table of what was left out, as far as no later round has it."""
        left = left_out(self._target, index, maker.layout.shard_name)
        if not left:
            self._target.remove(BROKEN_TABLE)
            return index.without(BROKEN_TABLE) if index.has(BROKEN_TABLE) else index
        rows = table_rows(left, database=self._farm.database, loader=maker.loader)
        return index.with_shard(*maker.write_table(BROKEN_TABLE, rows))

    def finish(self, index: Index) -> None:
        """Write the card and what goes with it. Raises StoreAway, DiskFull."""
        from dispatcher.export.card.finishing import finish
        from dispatcher.export.card.gathering import facts_of

        with self._farm.database.read() as connection:
            facts = [facts_of(connection, source.row, source.job) for source in self._wish.sources]
        finish(self._target, index, facts)

    def _save(self, index: Index) -> None:
        self._target.put(INDEX, index.encode())


def finishings(wish: Wish, signing: Signing | None) -> dict[str, Finishing]:
    """How the pictures of each job are finished. Raises InvalidSpec."""
    found = {
        source.row.id: finishing_of(wish.options, source.job.spec.output, signing=signing) for source in wish.sources
    }
    formats = {finishing.wanted.format for finishing in found.values()}
    if len(formats) > 1:
        said = f"the pictures are {' and '.join(sorted(formats))}"
        raise InvalidSpec("JOB", None, f"{said}, and a data set holds one format; add --format png, jpeg or webp")
    return found
