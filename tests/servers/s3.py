"""What all S3 test servers have in common."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3Server:
    """Where a server is, and who may use it."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead any AWS tool to this server's credentials and to no others."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cached_property
    def client(self) -> "S3Client":
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )

    def create_bucket(self) -> "S3Bucket":
        """Make an empty bucket of a new name."""
        bucket = S3Bucket(f"test-{secrets.token_hex(6)}", self)
        self.client.create_bucket(Bucket=bucket.name)
        return bucket


@dataclass(frozen=True)
class S3Bucket:
    """A bucket of one test."""

    name: str
    server: S3Server

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    def remove(self) -> None:
        """Delete the bucket with all that is in it, unless it is gone already."""
        client = self.server.client
        with suppress(client.exceptions.NoSuchBucket):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.name):
                for found in page.get("Contents", []):
                    client.delete_object(Bucket=self.name, Key=found["Key"])
            client.delete_bucket(Bucket=self.name)
