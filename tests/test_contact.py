"""The sheet of a job by what the job says: any recipe key or label, in short words."""

from pathlib import Path
from typing import Any

import pytest

from dispatcher.farm import Farm
from dispatcher.submission import submit
from dispatcher.views.contact import Arrangement, draw_sheet
from spec_files import frozen
from storage.errors import UnknownName
from storage.settings import Settings


def sheet_note(folder: Path, wanted: Arrangement, **entries: Any) -> str:
    """Lay out a job of which nothing is made yet."""
    for name in ("ink", "ft"):
        (folder / name).mkdir(exist_ok=True)
    farm = Farm(Settings(home=folder))
    row = submit(
        frozen(folder, **entries), settings=farm.settings, database=farm.database, store=farm.store, source="x"
    ).row
    return draw_sheet(farm, row, wanted).note


@pytest.mark.parametrize(
    ("wanted", "axes", "said"),
    [
        pytest.param(Arrangement(), {"loras": [[], "./ink"], "vae": [None, "./ft"]},
                     "1 page, 2 rows x 2 columns, 4 of 4 images\nrows: loras · columns: vae", id="any keys"),
        pytest.param(Arrangement(rows="vae", cols="loras"), {"loras": [[], "./ink"], "vae": [None, "./ft"]},
                     "rows: vae · columns: loras", id="as the user says"),
        pytest.param(Arrangement(pick={"loras": "ink:0.5"}),
                     {"loras": ["./ink", {"model": "./ink", "scale": 0.5}], "eta": [0, 1]},
                     "columns: eta · loras = ink:0.5 (picked)", id="by a short value"),
        pytest.param(Arrangement(pick={"cfg_cutoff": "(none)"}), {"cfg_cutoff": [None, 0.5], "steps": [4, 8]},
                     "columns: steps · cfg_cutoff = (none) (picked)", id="by silence"),
        pytest.param(Arrangement(rows="replicate"), {"prompt": ["a", "b"], "seed": {"derive": 2}},
                     "rows: replicate · columns: prompt", id="derived seeds by replicate"),
    ],
)  # fmt: skip
def test_a_sheet_is_arranged_by_any_key(tmp_path: Path, wanted: Arrangement, axes: dict[str, Any], said: str) -> None:
    assert said in sheet_note(tmp_path, wanted, axes=axes)


def test_a_key_of_which_the_job_says_nothing_is_no_field(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="field 'strength': unknown"):
        sheet_note(tmp_path, Arrangement(rows="strength"), axes={"seed": {"count": 2}})
