"""An object store that fails as it is told, for tests of those who store."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from storage.blobs import FolderStore
from storage.errors import StoreAway

ALWAYS: Final = 10**9


class MoodyStore(FolderStore):
    """A folder whose puts may fail, hang, or be lost on the way back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.check()
        self.away = 0  # puts that fail from now on
        self.refuses: Callable[[str], bool] = lambda _: False  # by key
        self.deaf: Callable[[str], bool] = lambda _: False  # stored, and the answer is lost
        self.silent: threading.Event | None = None  # puts hang until it is set
        self.asked = threading.Event()
        self.stored: list[str] = []  # keys, in the order of puts
        self._count = threading.Lock()

    def put(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        silent = self.silent
        self.asked.set()
        if silent is not None:
            silent.wait()
        with self._count:
            is_away = self.away > 0
            self.away -= is_away
        if is_away or self.refuses(key):
            raise StoreAway(self.address, "a test")
        super().put(key, data, content_type=content_type)
        self.stored.append(key)
        if self.deaf(key):
            raise StoreAway(self.address, "the answer was lost")
