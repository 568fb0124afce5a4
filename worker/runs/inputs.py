"""The input images of a worker: fetched by hash, decoded once, the last ones kept.

Kept in memory alone: a job's images come back within minutes or not at all, and the store is close to every worker
compared with a rendering. Used by the device's thread only.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from storage.blobs import BlobStore
from storage.errors import BlobMissing, PermanentError
from storage.pictures import NotAPicture, decode
from storage.spec.fields import IMAGE_KEYS
from storage.wire.keys import input_key
from worker.renderer import Flaw
from worker.runs.patience import Patience

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT_BYTES: Final = 512 * 2**20  # of pixels: some 170 pictures of 1024 x 1024
_WIDTHS: Final = {"L": 1, "I;16": 2, "RGB": 4, "RGBA": 4}  # bytes of a pixel as Pillow holds it


class InputUnusable(PermanentError):
    """An input image cannot be had. Args: "input_missing" or "input_unusable", a sentence."""

    text = "{1}"


class Inputs:
    """The input images of one child."""

    def __init__(self, store: BlobStore, *, max_pixels: int, kept_bytes: int = KEPT_BYTES) -> None:
        """Read from `store`.

        Args:
            store: Where submitting put them.
            max_pixels: Cap on width x height (FARM_INPUT_PIXELS).
            kept_bytes: How many bytes of pixels stay in memory between two uses.
        """
        self._store = store
        self._max_pixels = max_pixels
        self._kept_bytes = kept_bytes
        self._held = 0  # bytes
        self._pictures: OrderedDict[str, Image] = OrderedDict()

    def get(self, name: str, *, patience: Patience) -> "Image":
        """One picture, turned upright; nobody may change it.

        Args:
            name: "sha256:" and 64 hex digits, as in a recipe.
            patience: How long to go on while the store is away.

        Returns:
            Mode "L", "RGB", "RGBA" or "I;16".

        Raises:
            InputUnusable: The store has none, or it is not what its name says.
            StoreAway: Patience has ended.
        """
        if name in self._pictures:
            self._pictures.move_to_end(name)
            return self._pictures[name]
        picture = self._fetch(name, patience)
        self._pictures[name] = picture
        self._held += _size(picture)
        while self._held > self._kept_bytes:
            _, oldest = self._pictures.popitem(last=False)
            self._held -= _size(oldest)
        return picture

    def flaw(self, recipe: Mapping[str, Any], *, patience: Patience) -> Flaw | None:
        """Why the image of a recipe cannot be made for want of its input images; None: all are there.

        Asked before a batch is drawn, so that one missing picture fails one image.
        """
        for key in sorted(IMAGE_KEYS & recipe.keys()):
            try:
                self.get(recipe[key], patience=patience)
            except InputUnusable as error:
                return Flaw(error.args[0], f"{key}: {error}")
        return None

    def _fetch(self, name: str, patience: Patience) -> "Image":
        key = input_key(name)
        try:
            data = patience.insist(lambda: self._store.get(key), what=key)
        except BlobMissing:
            raise InputUnusable("input_missing", f"{name} is not in the object store; submit the job anew") from None
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != name:
            raise InputUnusable("input_unusable", f"{name} has other bytes in the object store than its name says")
        try:
            return decode(data, max_pixels=self._max_pixels)
        except NotAPicture as error:
            raise InputUnusable("input_unusable", f"{name} {error}") from None


def _size(picture: "Image") -> int:
    return picture.width * picture.height * _WIDTHS[picture.mode]
