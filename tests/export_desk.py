"""Jobs whose pictures are real PNG files, and exports of them as `farm export` makes them."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image
from sqlalchemy import update
from xxhash import xxh3_64_hexdigest

from dispatcher.export.beginning import check_wish
from dispatcher.export.engine import Exporter, Outcome, Way
from dispatcher.export.options import ExportOptions
from dispatcher.export.sources import sources_of
from dispatcher.export.targets import FolderTarget, Target
from dispatcher.farm import Farm
from keeping_desk import KeepingDesk, failed
from storage.settings import Settings
from storage.sql import Database
from storage.sql.images import ImageRow
from storage.sql.tables import image


class ExportDesk(KeepingDesk):
    """A farm without a broker whose images can be opened."""

    def __init__(self, database: Database, folder: Path) -> None:
        super().__init__(database, folder)
        self.farm = Farm(Settings(home=folder))
        self.farm.__dict__.update(database=database, store=self.store)  # what its properties would open

    def painted(self, *, fail: Iterable[int] = (), **entries: Any) -> str:
        """A job that is done, some images failed, the others pictures of 24 x 16 pixels."""
        job_id = self.submit(**entries)
        failing = set(fail)
        while self.job(job_id).cursor < self.job(job_id).positions:
            chunk = self.cut(job_id)
            assert chunk is not None
            self.render(chunk, failed=[failed(number) for number in chunk.numbers if number in failing])
        self.paint(job_id)
        return job_id

    def paint(self, job_id: str, numbers: Iterable[int] | None = None) -> None:
        """Turn what lies in the store into pictures."""
        rows = self.images(job_id)
        for number in rows if numbers is None else numbers:
            if rows[number].key is not None:
                self.paint_one(rows[number], picture(rows[number].recipe_hash))

    def paint_one(self, row: ImageRow, data: bytes) -> None:
        """Have an image be these bytes."""
        assert row.key is not None
        self.store.put(row.key, data)
        facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "xxh3_64": xxh3_64_hexdigest(data)}
        self.change(row.job, row.number, **facts)

    def change(self, job_id: str, number: int, **columns: Any) -> None:
        """Set columns of an image."""
        with self.database.write() as connection:
            query = update(image).where(image.c.job == job_id, image.c.number == number)
            connection.execute(query.values(**columns))

    def renumber(self, job_id: str, numbers: Mapping[int, int]) -> None:
        """Turn images into takes of others."""
        for old, new in numbers.items():
            with self.database.write() as connection:
                query = update(image).where(image.c.job == job_id, image.c.number == old)
                connection.execute(query.values(number=new))

    def export(self, to: Path | Target, *jobs: str, way: Way | None = None, **options: Any) -> Outcome:
        """Export jobs."""
        target = FolderTarget(to) if isinstance(to, Path) else to
        return self.exporter(target, *jobs, way=way, **options).run(lambda _: None)

    def exporter(self, target: Target, *jobs: str, way: Way | None = None, **options: Any) -> Exporter:
        """An export that has not begun."""
        wish = check_wish(sources_of(self.farm, jobs), ExportOptions(**options))
        return Exporter(self.farm, target, wish, way or Way(workers=3))


@contextmanager
def opened_desk(folder: Path) -> Iterator[ExportDesk]:
    """A desk on a new SQLite database in a folder."""
    database = Database(f"sqlite:///{folder / 'farm.sqlite'}")
    database.prepare()
    try:
        yield ExportDesk(database, folder)
    finally:
        database.close()


def picture(seed: str) -> bytes:
    """A PNG whose pixels depend on a text."""
    made, data = Image.frombytes("RGB", (24, 16), (hashlib.sha256(seed.encode()).digest() * 36)), io.BytesIO()
    made.save(data, "PNG")
    return data.getvalue()


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder by its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(folder: Path) -> list[dict[str, Any]]:
    """The flat rows of all splits."""
    files = sorted(path for path in (folder / "metadata").glob("*.parquet") if not path.name.startswith("rejected"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def rejected(folder: Path) -> list[dict[str, Any]]:
    """The rows of what was not exported."""
    return [row for file in sorted((folder / "metadata").glob("rejected*")) for row in pq.read_table(file).to_pylist()]
