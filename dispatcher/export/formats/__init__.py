"""The layouts of a data set: what a shard is, what its files are called, and what stands in them."""

from collections.abc import Mapping
from typing import Final

from dispatcher.export.formats.folder import FolderLayout
from dispatcher.export.formats.imagefolder import ImageFolderLayout
from dispatcher.export.formats.layout import Layout, Setting
from dispatcher.export.formats.parquet import ParquetLayout
from dispatcher.export.formats.webdataset import WebDatasetLayout

LAYOUTS: Final[Mapping[str, type[Layout]]] = {
    "webdataset": WebDatasetLayout,
    "imagefolder": ImageFolderLayout,
    "parquet": ParquetLayout,
    "folder": FolderLayout,
}

__all__ = ["LAYOUTS", "Layout", "Setting"]
