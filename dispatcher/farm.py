"""What a command works with: settings, SQL and the store, each opened when first asked for."""

from functools import cached_property

from storage.blobs import BlobStore, open_store
from storage.settings import Settings
from storage.spec_store import SpecStore
from storage.sql import Database, open_database, registry
from storage.sql.registry import RegisteredModel


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

    def find_model(self, name: str) -> RegisteredModel | None:
        """A registered model, or None; nothing is created by asking. Raises DatabaseAway, SchemaMismatch."""
        settings = self.settings
        is_new = settings.database_url is None and not (settings.home / "farm.sqlite").exists()
        if is_new or not registry.NAME.fullmatch(name):
            return None
        with self.database.read() as connection:
            return registry.find(connection, name)

    @cached_property
    def specs(self) -> SpecStore:
        """The frozen specs."""
        return SpecStore(self.store)
