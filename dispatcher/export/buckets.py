"""An export that goes to a prefix of an S3 bucket."""

import errno
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import ClientError

from dispatcher.export.targets import Target, TargetRefused, checked_name
from storage.blobs.s3 import S3Store
from storage.errors import DiskFull, StoreAway


class S3Target(Target):
    """Files under a prefix. Drafts wait on this machine, in its folder for temporary files."""

    def __init__(self, bucket: str, *, prefix: str, endpoint: str | None, region: str) -> None:
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = _Bucket(bucket, prefix=prefix, endpoint=endpoint, region=region)

    def put(self, name: str, data: bytes | Path, *, lasting: bool = True) -> None:  # noqa: ARG002  # always does
        """See `Target.put`. A large file goes in parts."""
        if isinstance(data, Path):
            self._bucket.put_file(name, data)
        else:
            self._bucket.put(name, data)

    def get(self, name: str) -> bytes:
        """See `Target.get`."""
        return self._bucket.get(name)

    def size(self, name: str) -> int | None:
        """See `Target.size`."""
        found = self._bucket.head(name)
        return None if found is None else found.size

    def list(self) -> Iterator[str]:
        """See `Target.list`. Raises TargetRefused for a key that can be no file's name."""
        return self._bucket.names()

    def sha256(self, name: str) -> str:
        """See `Target.sha256`."""
        with self.draft() as draft:
            self._bucket.get_file(name, draft)
            with draft.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

    def remove(self, name: str) -> None:
        """See `Target.remove`."""
        self._bucket.delete([name])

    def prepare(self) -> None:
        """See `Target.prepare`."""
        self._bucket.make()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """See `Target.hold`. Drafts lie in folders of their own on this machine, which go with them."""
        yield

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """See `Target.draft`."""
        try:
            with tempfile.TemporaryDirectory(prefix="farm-export-") as folder:
                yield Path(folder) / "draft"
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(tempfile.gettempdir()) from None
            raise

    def take(self, name: str, draft: Path) -> None:
        """See `Target.take`."""
        self.put(name, draft)
        draft.unlink()


class TargetAway(StoreAway):
    """The server of an export's target does not answer, or refuses. Args: address, reason."""

    text = "--to {0} does not answer ({1}); correct the address or FARM_S3_ENDPOINT, then repeat the command"


class _Bucket(S3Store):
    """A store whose keys are names of users' files: capitals and leading dots are fine."""

    def __init__(self, bucket: str, *, prefix: str, endpoint: str | None, region: str) -> None:
        super().__init__(bucket, endpoint=endpoint, region=region)
        self._folder = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{self._folder}".rstrip("/")

    def _name(self, key: str) -> str:
        return self._folder + checked_name(key)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            with super()._refusals():
                yield
        except StoreAway as error:
            raise TargetAway(*error.args) from error

    def names(self) -> Iterator[str]:
        """Names of all files, in order, without the empty objects that consoles show as folders."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._folder)
        with self._refusals():
            for page in pages:
                for found in page.get("Contents", []):
                    name = found["Key"].removeprefix(self._folder)
                    if name and not name.endswith("/"):
                        yield self._told(name)

    def _told(self, name: str) -> str:
        try:
            return checked_name(name)
        except ValueError:
            rule = f"holds {name!r}, which can be no file of an export; remove that object, or choose another place"
            raise TargetRefused(self.address, rule) from None

    def make(self) -> None:
        """Create the bucket unless it is there. No probe is written: the first file is one. Raises StoreAway."""
        with self._refusals():
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                    raise
                self._create_bucket()
