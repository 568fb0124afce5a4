"""Picture bombs: each is a picture or one sentence, soon, and at little memory."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from input_pictures import encoded, png
from picture_bombs import BOMBS, FOREIGN, POLYGLOTS
from storage.errors import UserError
from storage.pictures import NotAPicture, decode, examine
from storage.spec.file.allowed import Allowed
from storage.spec.file.inputs import InputImages

CAP = 20_000_000  # pixels
LIMIT_S = 30.0  # of CPU: no measure of speed; a bomb that goes off takes minutes or all memory
TAKEN = {  # what is odd in these is not looked at
    "PNG: pixels that never end", "PNG: a palette of nothing", "PNG: chunks without end", "TIFF: a ring of pages",
    "BMP: packed rows", "PNG: zTXt behind the pixels", "PNG: zTXt", "PNG: iTXt",
    "PNG: a long text", "TIFF: a strip beyond memory", "TIFF: a tile beyond memory",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Pillow says of some broken files more than it raises
@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("door", [decode, examine])
def test_a_bomb_is_a_sentence_soon(door: object, name: str) -> None:
    began = time.process_time()
    try:
        door(BOMBS[name], max_pixels=CAP)  # type: ignore[operator]
        said = ""
    except NotAPicture as refused:
        said = str(refused)

    assert time.process_time() - began < LIMIT_S
    assert "\n" not in said
    assert len(said) < 300
    assert said or name in TAKEN


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("door", [decode, examine])
def test_a_format_that_nobody_works_in_is_not_opened(door: object, data: bytes) -> None:
    with pytest.raises(NotAPicture, match="is no PNG, JPEG, WebP, BMP or TIFF picture"):
        door(data, max_pixels=CAP)  # type: ignore[operator]


@pytest.mark.parametrize("data", POLYGLOTS.values(), ids=POLYGLOTS)
def test_of_a_file_that_is_two_things_only_the_picture_is_seen(data: bytes) -> None:
    assert decode(data, max_pixels=CAP).size == (8, 8)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.gif", "x.exe", "x.svg", "x"])
def test_a_files_name_decides_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(Image.new("L", (8, 8)), "BMP"))
    images = InputImages(tmp_path, Allowed())

    found = images.take(name, path="init_image")

    assert images.facts[found]["format"] == "BMP"


def test_a_file_of_too_many_bytes_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as handle:
        handle.write(png())
        handle.truncate(10**11)

    with pytest.raises(UserError, match="has 100000000000 bytes, and 67108864 are taken"):
        InputImages(tmp_path, Allowed()).take("x.png", path="init_image")


MEASURE = """
import resource, sys, warnings; warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
from storage.pictures import NotAPicture, decode, examine
import storage.pictures as pictures, picture_bombs
from input_pictures import encoded, photograph
for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
    decode(encoded(photograph(), kind), max_pixels=10**6)
data = {**picture_bombs.BOMBS, **picture_bombs.FOREIGN}
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, bomb in data.items():
    for door in (decode, examine):
        try: door(bomb, max_pixels=1_000_000)
        except NotAPicture as refused:
            assert "MemoryError" not in str(refused), name
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_cost_little_memory() -> None:
    here = Path(__file__).resolve().parent

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(here)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
        cwd=here.parent,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 200_000  # KiB; a picture of a million pixels has 4000, twice, and its file beside it
