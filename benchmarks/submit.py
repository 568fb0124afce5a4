"""How long a submit takes, by the job's size: it should not depend on it.

    .venv/bin/python -m benchmarks.submit

Reads a job file, freezes it, writes the spec into a folder store and one row into SQLite; the start of the process
is not counted. Prints the median of five for 10^3, 10^5 and 10^7 images of 1,000 prompts, and the largest over the
smallest.
"""

import statistics
import tempfile
import time
from pathlib import Path

import yaml

from dispatcher.submission import submit
from storage.blobs import open_store
from storage.settings import Settings
from storage.spec import freeze, read_job_file
from storage.sql import open_database

PROMPTS = 1000
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").mkdir()
        settings = Settings(home=folder / "home")
        database, store = open_database(settings), open_store(str(folder / "store"))
        store.check()
        medians = []
        for images in (10**3, 10**5, 10**7):
            file = folder / "job.yaml"
            axes = {
                "prompt": [f"a fox, picture {n}" for n in range(PROMPTS)],
                "seed": {"start": 0, "count": images // PROMPTS},
            }
            file.write_text(yaml.safe_dump({"model": "model", "axes": axes}))
            taken = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                spec = freeze(read_job_file(file), base=folder, name="bench", max_images=settings.max_images)
                submit(spec, settings=settings, database=database, store=store, source="job.yaml", new=True)
                taken.append(time.perf_counter() - began)
            medians.append(statistics.median(taken))
            print(f"{images:>12,} images  {medians[-1]:.3f} s")
        print(f"largest over smallest: {medians[-1] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
