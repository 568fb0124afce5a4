"""One shard: samples in their order into drafts of its file and its table, which are then ready to be placed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from dispatcher.export.formats import Layout
from dispatcher.export.index import REJECTED, BrokenImage, Shard
from dispatcher.export.loading import Broken, Loader
from dispatcher.export.lost import rows_of
from dispatcher.export.planning import Choice, PlannedShard, why_not
from dispatcher.export.shards.hashed import HashedFile
from dispatcher.export.shards.placing import Drafted
from dispatcher.export.shards.prefetch import in_order
from dispatcher.export.shards.sample import Sample
from dispatcher.export.shards.tables import TableWriter, row_schema
from dispatcher.export.targets import Target
from storage.sql import Database
from storage.sql.images import ImageRow
from storage.sql.selecting import Candidate


@dataclass(slots=True)
class _Filled:
    """What a shard came to."""

    bytes: int = 0
    left_out: list[BrokenImage] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Maker:
    """What all shards of an export are made with."""

    database: Database
    target: Target
    layout: Layout
    loader: Loader
    pool: ThreadPoolExecutor
    ahead: int  # pictures of one shard that are read ahead
    tell: Callable[[int], None]  # hears the bytes of each picture that is in its shard; what it raises ends the shard
    skip_broken: bool = False

    def make(self, planned: PlannedShard) -> Drafted:
        """Make a shard: whole, but not yet in its place. May be called from several threads at once.

        Raises:
            ImageUnreadable: An object is missing or damaged, and that is not to be skipped.
            ImageGone: An image has no record any more, likewise.
            ClassUnknown: An image has a class that came after the export began.
            StoreAway: Repeat the export.
            DiskFull: Likewise.
        """
        filled = _Filled()
        with ExitStack() as drafts:
            draft, table_draft = (drafts.enter_context(self.target.draft()) for _ in range(2))
            with HashedFile(draft) as file, HashedFile(table_draft) as table_file:
                self._fill(planned, file, table_file, filled)
            name, metadata = self.layout.shard_name(planned), self.layout.metadata_name(planned)
            own = table_file if name == metadata else file
            shard = Shard(
                rows=planned.rows - len(filled.left_out),
                bytes=filled.bytes if self.layout.places_files else own.bytes, file_bytes=own.bytes,
                sha256=own.sha256, split=planned.split, metadata=metadata, metadata_sha256=table_file.sha256,
                left_out=tuple(filled.left_out),
            )  # fmt: skip
            files = {metadata: table_draft} | ({} if name == metadata else {name: draft})
            return Drafted(name=name, shard=shard, files=files, drafts=drafts.pop_all())

    def _fill(self, planned: PlannedShard, file: HashedFile, table_file: HashedFile, filled: _Filled) -> None:
        writer = self.layout.writer(file)
        table = TableWriter(table_file, row_schema(self.layout.setting.columns))
        try:
            for sample in self._samples(planned):
                if isinstance(sample, Broken):
                    filled.left_out.append(self._skip(sample))
                    continue
                if writer is not None:
                    writer.add(sample)
                table.add(sample.row)
                filled.bytes += sample.size
                self.tell(sample.size)
            if writer is not None:
                writer.close()
            table.close()
        except BaseException:
            if writer is not None:
                writer.abandon()
            table.abandon()
            raise

    def list_rejected(self, planned: PlannedShard, choice: Choice) -> tuple[str, Shard]:
        """Write a table of images that are not exported, with why."""
        found = (image for image in rows_of(self.database, planned.numbers) if not isinstance(image, Broken))
        rows = (self._rejected_row(image, choice) for image in found)
        return self.write_table(self.layout.metadata_name(planned), rows)

    def write_table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, Shard]:
        """Write a table that stands for itself."""
        count = 0
        with self.target.draft() as draft:
            with HashedFile(draft) as file:
                table = TableWriter(file, row_schema(self.layout.setting.columns))
                for row in rows:
                    table.add(row)
                    count += 1
                table.close()
            self.target.take(name, draft)
        shard = Shard(
            rows=count, bytes=file.bytes, file_bytes=file.bytes, sha256=file.sha256, split=REJECTED, metadata=name,
            metadata_sha256=file.sha256,
        )  # fmt: skip
        return name, shard

    def _samples(self, planned: PlannedShard) -> Iterator[Sample | Broken]:
        def load(image: ImageRow | Broken) -> Sample | Broken:
            return image if isinstance(image, Broken) else self.loader.load(image, planned)

        return in_order(rows_of(self.database, planned.numbers), load, pool=self.pool, ahead=self.ahead)

    def _skip(self, broken: Broken) -> BrokenImage:
        if not self.skip_broken:
            raise broken.error()
        return BrokenImage(job=broken.job, number=broken.number, why=broken.why)

    def _rejected_row(self, image: ImageRow, choice: Choice) -> dict[str, Any]:
        row = self.loader.row(image)
        candidate = Candidate(
            image.number, image.state, image.rejected, image.recipe_hash, image.prompt, frozenset(image.flags)
        )
        why = why_not(candidate, with_rejected=choice.with_rejected, without=choice.without)
        if why == "rejected":
            return row | {"reason": why, "detail": image.rejected}
        return row if why == "failed" else row | {"reason": why}
