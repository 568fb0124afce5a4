"""An object store that is a bucket, or a prefix in one, of any S3 server.

Only what all servers agree on is used: path-style addresses, signature version 4, whole-object puts with a SHA-256
that the server checks, listings version 2, deletes in batches. The credentials come from where every AWS tool looks.
"""

import base64
import errno
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from storage.blobs.base import BlobInfo, BlobStore, Tell, check_key, check_prefix, is_key
from storage.blobs.files import BLOCK, resume_at
from storage.errors import BlobMissing, DiskFull, InvalidSetting, StoreAway

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 60  # between two packets, not for the whole object
CONNECTIONS: Final = 16  # idle ones kept for upload threads
PROBE: Final = ".farm"  # an empty object that `check` writes; no legal key, so no listing shows it

_TRANSFER: Final = TransferConfig(multipart_threshold=64 * 2**20, multipart_chunksize=64 * 2**20, max_concurrency=4)
_NO_CREDENTIALS: Final = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_FAULTS: Final = {
    NoCredentialsError: _NO_CREDENTIALS,
    PartialCredentialsError: _NO_CREDENTIALS,
    EndpointConnectionError: "cannot connect",
    ConnectTimeoutError: f"no connection within {CONNECT_TIMEOUT_S} s",
    ReadTimeoutError: f"silent for {READ_TIMEOUT_S} s",
}
_REFUSALS: Final = {
    "NoSuchBucket": "no such bucket",
    "AccessDenied": "access denied; check the key's rights",
    "InvalidAccessKeyId": "unknown AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "wrong AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}


class S3Store(BlobStore):
    """Objects in a bucket, under an optional prefix."""

    reads_at_once = 8  # an answer takes its time

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint: str | None = None,
        region: str = "us-east-1",
        page_size: int = 1000,
        attempts: int = 4,
    ) -> None:
        """Make the client; nothing is sent until `check` or the first use.

        Args:
            bucket: Its name.
            prefix: A legal key that all keys go under, or "".
            endpoint: URL of the server; None for AWS.
            region: Of the bucket; most other servers take any.
            page_size: Keys per list or delete request, at most 1000.
            attempts: Sends per request, with backoff in between.
        """
        self.bucket = bucket
        self.prefix = f"{check_key(prefix)}/" if prefix else ""
        self.region = region
        self._page_size = page_size
        self._attempts = attempts
        self._client = _client(endpoint, region, attempts)
        self.address = f"s3://{bucket}/{self.prefix}".rstrip("/") + _host(endpoint)

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        """See `BlobStore.put`."""
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        name = self._name(key)
        with self._refusals():
            self._client.put_object(
                Bucket=self.bucket, Key=name, Body=data, ContentType=content_type, ChecksumSHA256=digest
            )

    def get(self, key: str) -> bytes:
        """See `BlobStore.get`."""
        name = self._name(key)
        with self._refusals():
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=name)
            except ClientError as error:
                self._require_missing(error)
                raise BlobMissing(key, self.address) from None
            with closing(answer["Body"]) as body:
                return body.read()

    def put_file(self, key: str, path: Path, *, tell: Tell | None = None) -> None:
        """See `BlobStore.put_file`. A large file goes in parts, a few at a time."""
        name = self._name(key)
        with self._refusals():
            try:
                self._client.upload_file(str(path), self.bucket, name, Callback=tell, Config=_TRANSFER)
            except S3UploadFailedError as error:
                cause = error.__context__
                if isinstance(cause, ClientError):
                    raise cause from None
                raise StoreAway(self.address, str(error)) from error

    def get_file(self, key: str, path: Path, *, tell: Tell | None = None) -> None:
        """See `BlobStore.get_file`. A connection that breaks is made again, from where it broke."""
        info = self.head(key)
        if info is None:
            raise BlobMissing(key, self.address)
        try:
            with path.open("ab") as file, self._refusals():
                held, failures = resume_at(file, info.size, tell), 0
                while held < info.size:
                    try:
                        self._append(key, file, held, tell)
                    except BotoCoreError:
                        failures = 0 if file.tell() > held else failures + 1
                        if failures == self._attempts:
                            raise
                    held = file.tell()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(str(path)) from error
            raise

    def _append(self, key: str, file: BinaryIO, held: int, tell: Tell | None) -> None:
        answer = self._client.get_object(Bucket=self.bucket, Key=self._name(key), Range=f"bytes={held}-")
        with closing(answer["Body"]) as body:
            for block in body.iter_chunks(BLOCK):
                file.write(block)
                if tell is not None:
                    tell(len(block))

    def head(self, key: str) -> BlobInfo | None:
        """See `BlobStore.head`."""
        name = self._name(key)
        with self._refusals():
            try:
                answer = self._client.head_object(Bucket=self.bucket, Key=name)
            except ClientError as error:
                self._require_missing(error)
                return None
        return BlobInfo(key, answer["ContentLength"], answer["LastModified"].timestamp())

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """See `BlobStore.list`."""
        return self._pages(self.prefix + check_prefix(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        """See `BlobStore.delete`."""
        names = (self._name(key) for key in keys)
        while batch := list(itertools.islice(names, self._page_size)):
            with self._refusals():
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": name} for name in batch], "Quiet": True}
                )
            for refused in answer.get("Errors", []):
                code = refused.get("Code", "?")
                if code != "NoSuchKey":
                    raise StoreAway(self.address, _REFUSALS.get(code, code))

    def locate(self, key: str) -> str:
        """See `BlobStore.locate`."""
        return f"s3://{self.bucket}/{self._name(key)}"

    def check(self, *, create: bool = True) -> None:
        """See `BlobStore.check`. Leaves one empty object, `.farm`."""
        with self._refusals():
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if not create or _status(error) != 404:
                    raise
                self._create_bucket()
            if create:
                self._client.put_object(Bucket=self.bucket, Key=self.prefix + PROBE, Body=b"")

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _pages(self, prefix: str) -> Iterator[BlobInfo]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": self._page_size}
        )
        with self._refusals():
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self.prefix)
                    if is_key(key):
                        yield BlobInfo(key, found["Size"], found["LastModified"].timestamp())

    def _create_bucket(self) -> None:
        try:
            if self.region == "us-east-1":  # the one region that AWS refuses to be told
                self._client.create_bucket(Bucket=self.bucket)
            else:
                # Any region that AWS adds is right here; the stubs know only those of their day.
                place = {"LocationConstraint": self.region}
                self._client.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)  # type: ignore[arg-type]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "BucketAlreadyOwnedByYou":
                raise

    def _require_missing(self, error: ClientError) -> None:
        """Pass if the answer means "no such object"; else raise it.

        HEAD has no body that could tell a missing object from a missing bucket, so the bucket is asked for.
        """
        code = error.response.get("Error", {}).get("Code")
        if code == "NoSuchKey":
            return
        if code == "NoSuchBucket" or _status(error) != 404:
            raise error
        self._client.head_bucket(Bucket=self.bucket)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise StoreAway(self.address, _reason(error)) from error


def _client(endpoint: str | None, region: str, attempts: int) -> "S3Client":
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=CONNECTIONS,
    )
    try:
        # A session of its own: the default one is shared by all threads, and making clients in it is a race.
        return boto3.session.Session().client("s3", endpoint_url=endpoint, region_name=region, config=config)
    except ValueError as error:
        rule = "must be http://host:port or https://host:port"
        raise InvalidSetting("FARM_S3_ENDPOINT", endpoint, rule) from error


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _reason(error: ClientError | BotoCoreError) -> str:
    if not isinstance(error, ClientError):
        return _FAULTS.get(type(error), str(error))
    code = error.response.get("Error", {}).get("Code", "?")
    return _REFUSALS.get(code, f"{code}, HTTP {_status(error)}")


def _host(endpoint: str | None) -> str:
    return f" at {urlsplit(endpoint).netloc.rpartition('@')[2]}" if endpoint else ""
