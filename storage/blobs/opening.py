"""From the setting FARM_STORE_URL to a store."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from storage.blobs.base import BlobStore, is_key
from storage.blobs.folder import FolderStore
from storage.errors import InvalidSetting

RULE: Final = "must be a folder, file:///folder, or s3://bucket[/prefix] with a lower-case prefix"

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?://)?")  # two letters at least: "c:" is a drive


def open_store(url: str, *, endpoint: str | None = None, region: str = "us-east-1") -> BlobStore:
    """Make the store that a URL names. Nothing is touched or sent: `check` does that.

    Args:
        url: A path, file:///path, or s3://bucket[/prefix].
        endpoint: URL of an S3 server; None for AWS. Folders ignore it.
        region: Of the S3 bucket.

    Raises:
        InvalidSetting: The URL or the endpoint is none of these.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _folder(url, url)
    if scheme[1] == "file":
        return _folder(_file_path(url), url)
    if scheme[0] == "s3://":
        return _bucket(url, endpoint, region)
    raise _refusal(url)


def _folder(path: str, url: str) -> FolderStore:
    if not path.strip() or "\0" in path:
        raise _refusal(url)
    try:
        root = Path(path).expanduser()
    except RuntimeError:  # "~name" of a user that is not there
        raise _refusal(url) from None
    return FolderStore(root.absolute())  # now, since the working folder may change


def _file_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise _refusal(url)
    return unquote(parts.path)


def _bucket(url: str, endpoint: str | None, region: str) -> BlobStore:
    bucket, _, prefix = url.removeprefix("s3://").rstrip("/").partition("/")
    if not _BUCKET.fullmatch(bucket) or (prefix and not is_key(prefix)):
        raise _refusal(url)
    from storage.blobs.s3 import S3Store  # here, since boto3 is slow to load and only S3 needs it

    return S3Store(bucket, prefix=prefix, endpoint=endpoint, region=region)


def _refusal(url: str) -> InvalidSetting:
    shown = re.sub(r"//[^/]*@", "//***@", url)  # a password may stand there, and messages are logged
    return InvalidSetting("FARM_STORE_URL", shown, RULE)
