"""Columns of a parquet export as a data card's `dataset_info.features` names them. Pure.

They follow from the index, so no shard is read for them; and classes that came with a later round are among them, of
which the first shards know nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from dispatcher.export.index import Index
from dispatcher.export.shards.tables import picture_schema
from dispatcher.provenance.columns import with_labels

FORMAT: Final = "parquet"


def features_of(index: Index) -> list[Mapping[str, Any]]:
    """Names and types of the columns, in their order; none for other formats, whose loaders find out themselves."""
    if index.format != FORMAT:
        return []
    classes = index.classes if index.options.get("cls") is not None else None
    schema = picture_schema(with_labels(index.labels), classes=classes)
    told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    return [{"name": name, "dtype": _type(told[name])} for name in schema.names]


def _type(told: Mapping[str, Any]) -> Any:
    match told["_type"]:
        case "Image":
            return "image"
        case "ClassLabel":
            return {"class_label": {"names": {str(place): name for place, name in enumerate(told["names"])}}}
    return told["dtype"]
