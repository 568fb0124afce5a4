"""Columns of a parquet shard as a data card's `dataset_info.features` names them."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

from dispatcher.export.targets import FolderTarget, Target


def features_of(target: Target, shard: str) -> list[Mapping[str, Any]]:
    """Names and types of the columns; only the end of a file is read where the target is a folder."""
    import pyarrow.parquet as pq

    source: Any = target.root / shard if isinstance(target, FolderTarget) else io.BytesIO(target.get(shard))
    schema = pq.read_schema(source)
    told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    known = told.get("info", {}).get("features", {})
    return [{"name": field.name, "dtype": _type(field, known.get(field.name, {}))} for field in schema]


def _type(field: "pa.Field", told: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    if told.get("_type") == "Image" or pa.types.is_struct(field.type):
        return "image"
    if told.get("_type") == "ClassLabel":
        return {"class_label": {"names": {str(place): name for place, name in enumerate(told["names"])}}}
    return told["dtype"] if "dtype" in told else {"double": "float64"}.get(str(field.type), str(field.type))
