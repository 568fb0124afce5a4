"""Content Credentials (C2PA): a finished file signed with a user's certificate, so that a change of it can be seen.

Signing comes last. Whatever is written into a file afterwards, a text or an XMP packet, makes the credentials read as
tampered with. Pixels and marks stay as they are. This is done where files leave the farm and never on workers: a
private key has no place on a rented GPU (docs/decisions/0016-marks-and-signing.md).
"""

import io
from dataclasses import dataclass
from typing import Any, Final, Literal

from storage.errors import UserError
from storage.marks.reading import read
from storage.marks.record import SOFTWARE, software_version
from storage.marks.xmp import SOURCE_TYPES, TRAINED
from storage.spec.encoding import FORMATS

Algorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]
ALGORITHMS: Final = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")
_UNTRAINED: Final = ("data_mining", "ai_training", "ai_generative_training")


class CannotSign(UserError):
    """Content Credentials cannot be made. Args: reason."""

    text = "signing: {0}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Signing:
    """With what files are signed, and what their credentials say."""

    chain: bytes  # PEM, the signer's certificate first; the root is left out
    key: bytes  # PEM, PKCS #8, without a passphrase
    algorithm: Algorithm = "es256"  # what the key is for
    tsa_url: str | None = None  # of a time stamping authority (RFC 3161), asked once a file; None: no time is proved
    no_training: bool = False  # say that the file is not to be used for training or mining (CAWG)


def sign(data: bytes, format: str, *, signing: Signing, title: str) -> bytes:  # noqa: A002  # one word per idea
    """A picture file with Content Credentials.

    Args:
        data: The file, with its marks. Credentials that it has already are replaced.
        format: "png", "jpeg" or "webp".
        signing: Certificate, key and what to say.
        title: Of the picture, such as its file name.

    Raises:
        CannotSign: The library is missing, or refuses certificate, key or file.
    """
    c2pa = _library()
    claimed = read(data).source_type
    manifest = _manifest(title, f"{SOURCE_TYPES}{claimed}" if claimed else TRAINED, no_training=signing.no_training)
    signed = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(signing.algorithm, signing.chain, signing.key, signing.tsa_url)
        settings = {"builder": {"thumbnail": {"enabled": False}}}
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, context) as builder,
        ):
            builder.sign(signer, FORMATS[format].content_type, io.BytesIO(data), signed)
    except (c2pa.C2paError, ValueError, TypeError) as error:
        tsa = "" if signing.tsa_url is None else f", and {signing.tsa_url}"
        raise CannotSign(
            f"{_brief(error)}; check certificate, key, algorithm {signing.algorithm} (--sign-as){tsa}"
        ) from None
    return signed.getvalue()


def _library() -> Any:
    try:
        import c2pa  # type: ignore[import-untyped]
    except ImportError:
        raise CannotSign("the library c2pa-python is missing; pip install 'seedfarm[sign]'") from None
    return c2pa


def _manifest(title: str, source: str, *, no_training: bool) -> dict[str, Any]:
    agent = {"name": SOFTWARE, "version": software_version()}
    action = {"action": "c2pa.created", "digitalSourceType": source, "softwareAgent": agent}
    assertions: list[dict[str, Any]] = [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}]
    if no_training:
        entries = {f"cawg.{use}": {"use": "notAllowed"} for use in _UNTRAINED}
        assertions.append({"label": "cawg.training-mining", "data": {"entries": entries}})
    return {"claim_generator_info": [agent], "title": title, "assertions": assertions}


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
