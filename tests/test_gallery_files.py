"""Files that a user asked for: whole or not at all, and every refusal in the farm's own words."""

import json
from pathlib import Path

import pytest
import redis

from dispatcher.embedded.valkey import new_address, start_valkey
from dispatcher.views.gallery import FolderRefused, write_file


@pytest.mark.parametrize("name", ["taken/image.png", "x" * 300 + ".png"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(FolderRefused):
        write_file(tmp_path / name, b"picture")

    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_farm_may_live_in_a_folder_of_any_name(tmp_path: Path) -> None:
    home = tmp_path / 'Bäckerei "7" 🦊'
    home.mkdir()
    address = new_address(home)

    part = start_valkey(address, home=home)
    try:
        with redis.Redis.from_url(address.url) as client:
            folder = client.config_get("dir")["dir"]
    finally:
        part.stop(patience_s=1)

    assert Path(folder) == home / "broker"
    assert json.loads((home / "broker.json").read_text())["port"] == address.port
