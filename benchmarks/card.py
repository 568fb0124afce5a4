"""How long a data card and an audit take, and how much memory, by the number of images.

    .venv/bin/python -m benchmarks.card [--images 10000,100000]

The rows of a job are written into SQLite directly, see `benchmarks.export`; here each has a perceptual hash and a hash
of its pixels of its own, drawn at random. The job is exported to tars; then, in processes of their own, the card with
all that goes with it (counts, plots, Croissant, checksums) is made of that export, and the job is audited.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import bindparam, update

from benchmarks.export import PAGE, export, make_job
from dispatcher.auditing.collisions import audit
from dispatcher.export.card.finishing import finish
from dispatcher.export.card.gathering import facts_of
from dispatcher.export.index import INDEX, Index
from dispatcher.export.sources import sources_of
from dispatcher.export.targets import FolderTarget
from dispatcher.farm import Farm
from storage.settings import Settings
from storage.sql import jobs
from storage.sql.tables import image

NAME = "bench"
DISTANCE = 4  # bits, as `farm audit` takes where nobody says


def draw_looks(farm: Farm, job_id: str, count: int) -> None:
    """Give every image hashes of its own, as pictures that differ have."""
    query = (
        update(image)
        .where(image.c.job == job_id, image.c.number == bindparam("place"))
        .values(phash=bindparam("look"), pixel_sha256=bindparam("pixels"))
    )
    with farm.database.write() as connection:
        for start in range(0, count, PAGE):
            places = range(start, min(count, start + PAGE))
            drawn = [
                {"place": place, "look": os.urandom(8).hex(), "pixels": os.urandom(32).hex()} for place in places
            ]  # fmt: skip
            connection.execute(query, drawn)


def make_card(farm: Farm) -> str:
    """The card of the export in the farm's folder."""
    target = FolderTarget(farm.settings.home / "out")
    with farm.database.read() as connection:
        facts = [facts_of(connection, source.row, source.job) for source in sources_of(farm, [NAME])]
    finish(target, Index.decode(target.get(INDEX), place=INDEX), facts)
    return f"card of {len(target.get('README.md'))} bytes"


def look(farm: Farm) -> str:
    """An audit of the job."""
    with farm.database.read() as connection:
        rows = [jobs.find(connection, NAME)]
    found = audit(farm, rows, distance=DISTANCE)
    return f"audit of {found.images} images, {len(found.collisions)} collisions"


WAYS = {"card": make_card, "audit": look}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", default="10000,100000")
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.of is not None:
        way, home = said.of
        farm, began = Farm(Settings(home=Path(home))), time.perf_counter()
        told = WAYS[way](farm)
        seconds, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"  {told}: {seconds:.1f} s, peak of memory {peak // 1024} MB")
        return
    with tempfile.TemporaryDirectory() as name:
        for count in map(int, said.images.split(",")):
            home = Path(name) / str(count)
            farm = Farm(Settings(home=home))
            job_id = make_job(farm, count, size=2000, objects=50)
            draw_looks(farm, job_id, count)
            export(farm, job_id, home / "out", "webdataset")
            print(f"{count} images", flush=True)
            for way in WAYS:
                subprocess.run([sys.executable, "-m", "benchmarks.card", "--of", way, str(home)], check=True)


if __name__ == "__main__":
    main()
