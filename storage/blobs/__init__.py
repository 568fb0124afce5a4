"""Object stores: a folder, or any S3.

    with a URL:   store = open_store("s3://farm/pictures", endpoint="http://127.0.0.1:9000")
    then:         store.check(); store.put("jobs/x/0.png", png); store.get("jobs/x/0.png")

boto3 is loaded only when an S3 store is opened: a farm on folders starts without it.
"""

from storage.blobs.base import BlobInfo, BlobStore, check_key, check_prefix, is_key
from storage.blobs.folder import FolderStore
from storage.blobs.opening import open_store

__all__ = ["BlobInfo", "BlobStore", "FolderStore", "check_key", "check_prefix", "is_key", "open_store"]
