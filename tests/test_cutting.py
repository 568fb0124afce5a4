"""A chunk is some images in render order, of one model and one size; how many is a matter of time."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.planning.cutting import MAX_CHUNK_IMAGES, MAX_EMPTY, MAX_RANGES, chunk_images, cut
from spec_files import FACTS, frozen, job_files
from storage.errors import InvalidSpec
from storage.spec import Job

MODELS = dict.fromkeys(("./m", "owner/one", "owner/two"), FACTS)


def cuts(job: Job, *, images: int) -> list[list[int]]:
    """Cut a job to its end."""
    found, cursor = [], 0
    while cursor < job.positions:
        part = cut(job, cursor=cursor, images=images, models=MODELS)
        assert part.cursor > cursor
        cursor = part.cursor
        places = [place for number in part.numbers if (place := job[number]) is not None]
        assert len({(place.values["model"], place.values["width"]) for place in places}) <= 1
        assert (part.model is None) == (not places)
        found.append(list(part.numbers))
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=job_files(), images=st.integers(1, 20))
def test_cuts_hold_every_image_once_in_render_order(tmp_path: Path, entries: dict[str, Any], images: int) -> None:
    try:
        job = Job(frozen(tmp_path, **entries))
    except InvalidSpec:  # nothing was left of it
        return

    parts = cuts(job, images=images)

    order = [job.number_at(position) for position in range(job.positions)]
    assert [number for part in parts for number in part] == [number for number in order if job[number] is not None]
    assert all(len(part) <= images for part in parts)


def test_a_message_stays_small_where_exclusions_tear_the_ranges_apart(tmp_path: Path) -> None:
    prompts = [str(number) for number in range(3000)]
    torn = [prompt for number, prompt in enumerate(prompts) if number * number % 7 < 3]
    job = Job(frozen(tmp_path, axes={"prompt": prompts}, exclude=[{"prompt": torn}]))

    part = cut(job, cursor=0, images=MAX_CHUNK_IMAGES, models=MODELS)

    assert len(part.numbers.to_json()) <= MAX_RANGES + 64


def test_a_run_of_empty_places_is_left_after_a_while(tmp_path: Path) -> None:
    job = Job(frozen(tmp_path, axes={"prompt": ["a", "b"], "seed": {"count": 10**8}}, exclude=[{"prompt": "a"}]))

    part = cut(job, cursor=0, images=10, models=MODELS)

    assert (part.model, list(part.numbers)) == (None, [])
    assert 0 < part.cursor <= MAX_EMPTY + 10


@given(
    seconds=st.none() | st.floats(0, 1e6) | st.just(float("inf")), target_s=st.floats(0.1, 3600),
    batch=st.integers(1, 512), left=st.integers(1, 10**12), workers=st.integers(0, 1000),
)  # fmt: skip
def test_a_chunk_holds_whole_batches_within_bounds(
    seconds: float | None, target_s: float, batch: int, left: int, workers: int
) -> None:
    images = chunk_images(seconds_per_image=seconds, target_s=target_s, batch=batch, left=left, workers=workers)

    assert 1 <= images <= MAX_CHUNK_IMAGES
    assert images % batch == 0


def test_a_new_job_begins_with_one_batch_and_a_known_one_aims_at_the_time() -> None:
    first = chunk_images(seconds_per_image=None, target_s=60, batch=4, left=10**6, workers=3)
    later = chunk_images(seconds_per_image=0.5, target_s=60, batch=4, left=10**6, workers=3)
    near_the_end = chunk_images(seconds_per_image=0.5, target_s=60, batch=4, left=48, workers=3)

    assert (first, later, near_the_end) == (4, 120, 8)
