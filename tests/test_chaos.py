"""The short form of `make chaos`: a storm of seeded faults over the whole farm, and nothing lost, doubled or wrong."""

from pathlib import Path

from faults.catalogue import KINDS
from faults.farm import Farm
from faults.parts import Servers
from faults.storm import Storm, draw, start_parts

SEED = 20_261
FAULTS = 24
SCALE = 0.1


def test_a_storm_of_seeded_faults_loses_doubles_and_spoils_nothing(rack_servers: Servers, tmp_path: Path) -> None:
    faults = draw(SEED, FAULTS, gap_s=(0.5, 2.0), silence_s=30 * SCALE)
    with Farm(tmp_path, rack_servers, scale=SCALE, model={"seconds_per_step": 0.25}, FARM_CHUNK_S="2") as farm:
        start_parts(farm, dispatchers=2, workers=2)

        outcome = Storm(farm, faults, images=400, job_images=200).run()

        assert outcome.clean, f"{outcome}\n{farm.words()}"
        assert outcome.dealt.total() >= 20, outcome.missed


def test_a_seed_gives_the_same_faults_again() -> None:
    first, second = (draw(7, 100, gap_s=(1, 2), silence_s=3) for _ in range(2))

    assert first == second
    assert {fault.kind for fault in first} == set(KINDS)
    assert first != draw(8, 100, gap_s=(1, 2), silence_s=3)
