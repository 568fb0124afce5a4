"""A chain of certificates of our own, and what the library of the standard says of a file that is signed by it."""

import datetime
import io
import json
from dataclasses import dataclass
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from storage.marks import FORMATS
from storage.marks.credentials import Signing


@dataclass(frozen=True)
class Chain:
    root: bytes  # PEM
    signing: Signing


def make_chain(curve: ec.EllipticCurve) -> Chain:
    above, below = ec.generate_private_key(curve), ec.generate_private_key(curve)
    root = _certificate("A root", above, issuer="A root", by=above, is_root=True)
    leaf = _certificate("A photographer of foxes", below, issuer="A root", by=above, is_root=False)
    key = below.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Chain(root, Signing(chain=leaf, key=key))


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, *, issuer: str, by: ec.EllipticCurvePrivateKey, is_root: bool
) -> bytes:
    """A certificate as the standard wants them: its use said, and signing of content among the extended uses."""
    now = datetime.datetime.now(datetime.UTC)
    days = datetime.timedelta(days=2)
    use = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                         "encipher_only", "decipher_only"), False)  # fmt: skip
    usage = x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **use)
    made = (
        x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - days).not_valid_after(now + days)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )  # fmt: skip
    if not is_root:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Foxes")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass(frozen=True)
class Verdict:
    state: str | None
    failures: list[str]
    manifest: dict[str, Any]
    manifests: int


def judged(data: bytes, name: str, *, root: bytes | None = None) -> Verdict:
    """What the library of the standard says, trusting `root` or nobody."""
    trust = {"trust": {"trust_anchors": root.decode()}} if root is not None else {}
    with (
        c2pa.Context.from_dict({"verify": {"verify_trust": True}, **trust}) as context,
        c2pa.Reader(FORMATS[name].content_type, io.BytesIO(data), context=context) as reader,
    ):
        results = reader.get_validation_results() or {}
        failures = [each["code"] for each in results["activeManifest"]["failure"]]
        whole = json.loads(reader.json())
        return Verdict(reader.get_validation_state(), failures, reader.get_active_manifest(), len(whole["manifests"]))
