"""What a picture's file says of itself: read back as it was written, in every format, at every level."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from marked_pictures import ENCODINGS, LIBRARIES, MODEL, ODD_PROMPTS, PLAN, marks, picture, recipe
from storage.marks import Encoding, encode, pixel_sha256, read
from storage.spec import digest
from storage.spec.fields import PROMPT_KEYS

IDS = [f"{encoding.format}{' lossless' * encoding.lossless}" for encoding in ENCODINGS]
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS, ids=IDS)
every_prompt = pytest.mark.parametrize("prompt", ODD_PROMPTS.values(), ids=ODD_PROMPTS)


@every_encoding
def test_the_record_says_recipe_plan_models_and_libraries(encoding: Encoding) -> None:
    made = marks(vae=MODEL, loras=[{"model": MODEL, "scale": 0.5}])

    said = read(encode(picture(), encoding, marks=made)).record

    assert said is not None
    assert (said["schema"], said["level"], said["prompts"]) == (2, "full", True)
    assert (said["recipe"], said["plan"], said["recipe_hash"]) == (made.recipe, PLAN, digest(dict(made.recipe)))
    assert said["models"] == {"model": MODEL, "vae": MODEL, "loras": [MODEL]}
    assert said["libraries"].keys() == {*LIBRARIES, "pillow"}
    assert said["encoding"] == encoding.to_json()
    assert said.keys() == {
        "schema", "level", "prompts", "recipe", "recipe_hash", "models", "plan", "libraries", "encoding", "software",
    }  # fmt: skip


@every_encoding
@every_prompt
def test_any_prompt_comes_back_from_the_record(encoding: Encoding, prompt: str) -> None:
    found = read(encode(picture(), encoding, marks=marks(prompt=prompt, negative_prompt=prompt)))

    assert found.record is not None
    assert (found.record["recipe"]["prompt"], found.record["recipe"]["negative_prompt"]) == (prompt, prompt)
    assert found.source_type == "trainedAlgorithmicMedia"


@every_encoding
@every_prompt
def test_the_same_arguments_give_the_same_bytes(encoding: Encoding, prompt: str) -> None:
    first, second = (encode(picture(), encoding, marks=marks(prompt=prompt)) for _ in range(2))

    assert first == second


def test_another_process_gives_the_same_bytes() -> None:
    script = (
        "import hashlib; from marked_pictures import *; from storage.marks import encode; "
        "print([hashlib.sha256(encode(picture(), each, marks=marks())).hexdigest() for each in ENCODINGS])"
    )

    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PYTHONPATH": "tests:."}, check=True,
            capture_output=True,
        ).stdout for seed in ("1", "2")
    }  # fmt: skip

    assert len(said) == 1


@every_encoding
def test_pixels_do_not_depend_on_marks(encoding: Encoding) -> None:
    files = [encode(picture(), encoding, marks=each) for each in (None, marks(level="minimal"), marks())]

    found = {pixel_sha256(Image.open(io.BytesIO(data))) for data in files}

    assert len(found) == 1
    assert (found == {pixel_sha256(picture())}) == encoding.keeps_pixels


@every_encoding
def test_minimal_keeps_the_marking_and_the_hash_alone(encoding: Encoding) -> None:
    made = marks(level="minimal", prompt="a secret fox")

    data = encode(picture(), encoding, marks=made)

    found = read(data)
    assert found.record == {"schema": 2, "level": "minimal", "recipe_hash": digest(dict(made.recipe))}
    assert (found.source_type, found.infotext, found.prompt) == ("trainedAlgorithmicMedia", None, None)
    assert b"secret" not in data
    assert b"AISystemUsed" not in data


@every_encoding
def test_none_writes_nothing(encoding: Encoding) -> None:
    data = encode(picture(), encoding, marks=marks(level="none"))

    assert data == encode(picture(), encoding, marks=None)
    assert b"seedfarm" not in data.lower()
    assert read(data) == read(b"")


@every_encoding
def test_prompts_that_are_not_disclosed_stand_nowhere(encoding: Encoding) -> None:
    texts = dict.fromkeys(PROMPT_KEYS, "a secret fox")
    made = marks(prompts=False, **texts)

    data = encode(picture(), encoding, marks=made)

    found = read(data)
    assert found.record is not None
    assert (found.record["prompts"], found.recipe_hash) == (False, digest(dict(made.recipe)))
    assert found.record["recipe"] == recipe(**dict.fromkeys(texts))
    assert (found.infotext, found.prompt) == (None, None)
    assert b"secret" not in data
    assert "secret".encode("utf-16-be") not in data


@every_encoding
def test_words_of_a_prompt_in_other_keys_are_not_disclosed_either(encoding: Encoding) -> None:
    toy, drift = {"model": MODEL}, {"name": "drift", "code": MODEL}
    told = {
        "embeddings": [{**toy, "token": "<secret>"}], "callbacks": [{**drift, "options": {"say": "a secret fox"}}],
    }  # fmt: skip

    data = encode(picture(), encoding, marks=marks(prompts=False, **told))

    record = read(data).record
    assert record is not None
    assert (record["recipe"]["embeddings"], record["recipe"]["callbacks"]) == ([toy], [drift])
    assert b"secret" not in data


@pytest.mark.parametrize("mode", ["image-to-image", "inpaint", "depth-to-image"])
@every_encoding
def test_a_picture_made_from_a_picture_is_marked_as_composite(encoding: Encoding, mode: str) -> None:
    found = read(encode(picture(), encoding, marks=marks(mode=mode, level="minimal")))

    assert found.source_type == "compositeWithTrainedAlgorithmicMedia"


@every_encoding
def test_the_xmp_names_prompt_and_system(encoding: Encoding) -> None:
    data = encode(picture(), encoding, marks=marks(prompt="a <fox>\r\n& more"))

    assert read(data).prompt == "a <fox>\r\n& more\nNegative prompt: a hound"
    assert b"<Iptc4xmpExt:AISystemUsed>Seedfarm</Iptc4xmpExt:AISystemUsed>" in data


@every_encoding
def test_what_was_done_to_the_picture_since_stands_in_the_record(encoding: Encoding) -> None:
    found = read(encode(picture(32, 24), encoding, marks=replace(marks(), edits={"size": [32, 24]})))

    assert found.record is not None
    assert found.record["edits"] == {"size": [32, 24]}


def test_what_the_picture_was_read_with_is_not_written_again() -> None:
    other = picture()
    other.info = {"comment": b"by hand", "icc_profile": b"profile", "dpi": (300, 300)}

    for encoding in ENCODINGS:
        assert encode(other, encoding, marks=None) == encode(picture(), encoding, marks=None)
    assert other.info["comment"] == b"by hand"


def test_a_prompt_of_65_kb_breaks_no_jpeg_and_the_record_says_what_is_left_out() -> None:
    long = "fox " * 16_384

    found = {
        name: read(encode(picture(), Encoding(name), marks=marks(prompt=long))) for name in ("png", "jpeg", "webp")
    }

    for name in ("png", "webp"):
        record = found[name].record
        assert record is not None
        assert (record["recipe"]["prompt"], found[name].prompt) == (long, f"{long}\nNegative prompt: a hound")
        assert found[name].infotext is not None
    record = found["jpeg"].record
    assert record is not None
    assert (record["left_out"], "prompt" in record["recipe"]) == ("prompts", False)
    assert record["recipe_hash"] == digest(recipe(prompt=long))
    assert (found["jpeg"].infotext, found["jpeg"].prompt) == (None, None)
    assert found["jpeg"].source_type == "trainedAlgorithmicMedia"


@pytest.mark.parametrize("letters", [20_000, 30_000, 31_000, 32_000, 33_000, 40_000, 62_000, 65_000])
def test_a_jpeg_can_be_read_at_any_length_of_prompt(letters: int) -> None:
    data = encode(picture(), Encoding("jpeg"), marks=marks(prompt="狐" * (letters // 3) + "x" * (letters % 3)))

    found = read(data)
    assert found.record is not None
    assert found.source_type == "trainedAlgorithmicMedia"
    Image.open(io.BytesIO(data)).load()


def test_a_recipe_too_long_for_a_jpeg_leaves_its_hash() -> None:
    huge = list(range(20_000))

    record = read(encode(picture(), Encoding("jpeg"), marks=marks(timesteps=huge))).record

    assert record == {
        "schema": 2, "level": "minimal", "recipe_hash": digest(recipe(timesteps=huge)), "left_out": "recipe",
    }  # fmt: skip


def test_a_record_from_before_there_were_levels_is_read() -> None:
    from PIL.PngImagePlugin import PngInfo

    text, data = PngInfo(), io.BytesIO()
    old = {"schema": 1, "recipe": recipe(), "plan": PLAN, "libraries": LIBRARIES}
    text.add_itxt("seedfarm", json.dumps(old))
    picture().save(data, "PNG", pnginfo=text)

    found = read(data.getvalue())

    assert (found.record, found.recipe_hash, found.source_type) == (old, None, None)
