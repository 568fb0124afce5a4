"""Where seeds come from in a job that renders a random sample of its product."""

from collections import defaultdict
from pathlib import Path

import pytest

from dispatcher.auditing.declaring import Origins
from spec_files import frozen
from storage.spec import Job

PROMPTS = [f"fox {number}" for number in range(10)]


@pytest.mark.parametrize("seeds_first", [False, True], ids=["seeds turn fastest", "seeds turn slowest"])
def test_images_of_a_sample_share_a_seed_of_the_axis_by_declaration(tmp_path: Path, seeds_first: bool) -> None:
    axes = {"prompt": PROMPTS, "seed": {"count": 10}}
    job = Job(frozen(tmp_path, axes=dict(sorted(axes.items(), reverse=seeds_first)), sample={"count": 30, "seed": 1}))
    origins = Origins(job)

    by_seed = defaultdict(set)
    for number in range(len(job)):
        place = job[number]
        assert place is not None
        by_seed[place.values["seed"]].add(origins.of(number))

    assert len(by_seed) == 10
    assert all(len(found) == 1 for found in by_seed.values())
