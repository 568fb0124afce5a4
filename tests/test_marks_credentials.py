"""Content Credentials: signed by a chain of our own, read by the library of the standard, and broken by one bit."""

import io
import sys
from dataclasses import replace
from typing import Any

import c2pa
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from marked_pictures import marks, picture
from signers import Chain, judged, make_chain
from storage.marks import FORMATS, Encoding, encode, pixel_sha256, read
from storage.marks.credentials import ALGORITHMS, CannotSign, sign

FILES = {name: encode(picture(), Encoding(name), marks=marks()) for name in FORMATS}
every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(scope="module")
def chain() -> Chain:
    return make_chain(ec.SECP256R1())


@every_format
def test_a_signed_file_is_trusted_by_whoever_trusts_the_root(name: str, chain: Chain) -> None:
    signed = sign(FILES[name], name, signing=chain.signing, title="000000012.png")

    found = judged(signed, name, root=chain.root)

    assert (found.state, found.failures) == ("Trusted", [])
    assert found.manifest["title"] == "000000012.png"
    assert found.manifest["signature_info"]["common_name"] == "A photographer of foxes"
    assert "thumbnail" not in found.manifest
    (actions,) = found.manifest["assertions"]
    (action,) = actions["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["softwareAgent"]["name"] == "Seedfarm"


@every_format
def test_to_whoever_does_not_know_the_root_it_is_whole_and_untrusted(name: str, chain: Chain) -> None:
    signed = sign(FILES[name], name, signing=chain.signing, title="a fox")

    found = judged(signed, name)

    assert (found.state, found.failures) == ("Valid", ["signingCredential.untrusted"])


@every_format
def test_pixels_and_marks_stay_as_they_are(name: str, chain: Chain) -> None:
    signed = sign(FILES[name], name, signing=chain.signing, title="a fox")

    before, after = read(FILES[name]), read(signed)

    assert (before.is_signed, after.is_signed) == (False, True)
    assert replace(after, is_signed=False) == before
    assert pixels(signed) == pixels(FILES[name])


@every_format
def test_one_flipped_bit_is_found_wherever_it_lies(name: str, chain: Chain) -> None:
    signed = sign(FILES[name], name, signing=chain.signing, title="x")
    plain = FILES[name]
    prompt, pixel = signed.index(b"a fox"), signed.index(plain[-200:-180])

    for place in (prompt, pixel):
        changed = bytearray(signed)
        changed[place] ^= 1

        found = judged(bytes(changed), name, root=chain.root)

        assert (found.state, found.failures) == ("Invalid", ["assertion.dataHash.mismatch"])


@every_format
def test_a_mark_that_is_changed_after_signing_is_found(name: str, chain: Chain) -> None:
    signed = sign(
        encode(picture(), Encoding(name), marks=marks(level="minimal")), name, signing=chain.signing, title="x"
    )
    mark = b"trainedAlgorithmicMedia<"

    found = judged(signed.replace(mark, b"digitalCapture<".ljust(len(mark))), name, root=chain.root)

    assert found.state == "Invalid"


def test_a_file_signed_again_has_the_new_credentials_alone(chain: Chain) -> None:
    once = sign(FILES["png"], "png", signing=chain.signing, title="one")

    twice = sign(once, "png", signing=chain.signing, title="two")

    found = judged(twice, "png", root=chain.root)
    assert (found.manifest["title"], found.manifests, found.state) == ("two", 1, "Trusted")


def test_a_composite_is_signed_as_one(chain: Chain) -> None:
    data = encode(picture(), Encoding(), marks=marks(mode="inpaint"))

    found = judged(sign(data, "png", signing=chain.signing, title="x"), "png", root=chain.root)

    (actions,) = found.manifest["assertions"]
    assert actions["data"]["actions"][0]["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")


def test_a_file_without_marks_is_signed_as_made_by_a_model(chain: Chain) -> None:
    data = encode(picture(), Encoding("jpeg"), marks=None)

    found = judged(sign(data, "jpeg", signing=chain.signing, title="x"), "jpeg", root=chain.root)

    assert found.manifest["assertions"][0]["data"]["actions"][0]["digitalSourceType"].endswith(
        "trainedAlgorithmicMedia"
    )


def test_training_is_forbidden_on_request(chain: Chain) -> None:
    signing = replace(chain.signing, no_training=True)

    found = judged(sign(FILES["webp"], "webp", signing=signing, title="x"), "webp", root=chain.root)

    entries = found.manifest["assertions"][1]["data"]["entries"]
    assert entries.keys() == {"cawg.data_mining", "cawg.ai_training", "cawg.ai_generative_training"}
    assert {entry["use"] for entry in entries.values()} == {"notAllowed"}


def test_other_curves_sign_too() -> None:
    chain = make_chain(ec.SECP384R1())

    signed = sign(FILES["png"], "png", signing=replace(chain.signing, algorithm="es384"), title="x")

    assert judged(signed, "png", root=chain.root).state == "Trusted"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"chain": b""}, id="no certificate"),
        pytest.param({"chain": b"nonsense"}, id="certificate"),
        pytest.param({"key": b"nonsense"}, id="key"),
        pytest.param({"key": b"a\0b"}, id="key with NUL"),
        pytest.param({"algorithm": "ps256"}, id="another kind of key"),
        pytest.param({"algorithm": "rot13"}, id="algorithm"),
        pytest.param({"tsa_url": "http://127.0.0.1:1/"}, id="no time stamps there"),
        pytest.param({"tsa_url": "ftp:\0"}, id="no address"),
    ],
)
def test_what_cannot_sign_is_refused_in_one_sentence(chain: Chain, change: dict[str, Any]) -> None:
    with pytest.raises(CannotSign) as caught:
        sign(FILES["png"], "png", signing=replace(chain.signing, **change), title="x")

    said = str(caught.value)
    assert said.startswith("signing: ")
    assert "; check certificate, key, algorithm" in said
    assert "\n" not in said


def test_a_key_of_another_certificate_is_refused(chain: Chain) -> None:
    other = make_chain(ec.SECP256R1())

    with pytest.raises(CannotSign):
        sign(FILES["png"], "png", signing=replace(chain.signing, key=other.signing.key), title="x")


@pytest.mark.parametrize("data", [b"", b"no picture", FILES["png"][:100]])
def test_what_is_no_picture_is_not_signed(chain: Chain, data: bytes) -> None:
    with pytest.raises(CannotSign):
        sign(data, "png", signing=chain.signing, title="x")


def test_without_the_library_the_error_names_what_to_install(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)

    with pytest.raises(CannotSign, match=r"pip install 'seedfarm\[sign\]'"):
        sign(FILES["png"], "png", signing=chain.signing, title="x")


def test_the_algorithms_are_those_of_the_library() -> None:
    assert {each.name.lower() for each in c2pa.C2paSigningAlg} == set(ALGORITHMS)


def pixels(data: bytes) -> str:
    return pixel_sha256(Image.open(io.BytesIO(data)))
