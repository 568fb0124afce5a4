"""What a command works with: settings, SQL and the store, each opened when first asked for."""

from functools import cached_property

from storage.blobs import BlobStore, open_store
from storage.settings import Settings
from storage.spec_store import SpecStore
from storage.sql import Database, open_database


class Farm:
    """One user's view of one farm."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Database:
        """SQL, its tables in place. Raises DatabaseAway, SchemaMismatch."""
        return open_database(self.settings)

    @cached_property
    def store(self) -> BlobStore:
        """The object store, checked once. Raises StoreAway."""
        settings = self.settings
        store = open_store(settings.store_address, endpoint=settings.s3_endpoint, region=settings.s3_region)
        store.check()
        return store

    @cached_property
    def specs(self) -> SpecStore:
        """The frozen specs."""
        return SpecStore(self.store)
