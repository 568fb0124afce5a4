"""croissant.json of an export: Croissant 1.1 as JSON-LD, with PROV-O on how the images came to be. Pure.

Every shard and table is a FileObject with its SHA-256. Sets of files are told by patterns and lie in no archive or
repository, so that the description is true of a folder, of a bucket and of a repository of the hub alike.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dispatcher.export.card.facts import JobFacts
from dispatcher.export.card.licences import NOTES, agreed, models_of
from dispatcher.export.card.text.front import data_files, title
from dispatcher.export.index import Index, Shard
from dispatcher.provenance.columns import Column, with_labels
from storage.marks.record import software_version

CROISSANT: Final = "croissant.json"
TRAINED: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_MEDIA: Final = {
    "tar": "application/x-tar", "parquet": "application/x-parquet", "jsonl": "application/jsonlines",
    "csv": "text/csv", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "txt": "text/plain",
}  # fmt: skip
_TYPES: Final = {"string": "sc:Text", "int64": "cr:Int64", "float64": "sc:Float", "bool": "sc:Boolean"}
_CONTEXT: Final = {
    "@language": "en", "@vocab": "https://schema.org/", "annotation": "cr:annotation", "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#", "recordSet": "cr:recordSet", "references": "cr:references",
    "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform", "description": {"@container": "@language"}, "name": {"@container": "@language"},
}  # fmt: skip


def croissant(
    index: Index, jobs: Sequence[JobFacts], *, suffix: str = "png", versions: Mapping[str, str] | None = None
) -> str:
    """The text of croissant.json.

    Args:
        index: Of the export.
        jobs: That it was made of.
        suffix: Of the pictures.
        versions: Of the libraries that rendered: name -> version.
    """
    rows = sum(entry["rows"] for entry in index.splits.values())
    models = models_of(jobs)
    entry = {
        "@context": _CONTEXT, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": title(jobs), "description": f"{rows:,} images made by diffusion models, each with its recipe.",
        "version": f"{index.rounds}.0.0", "license": agreed(models) or NOTES, "url": "README.md",
        "keywords": ["synthetic", "diffusers", index.format, *sorted({job.mode for job in jobs})],
        "rai:dataCollection": "Rendered by diffusion models from the recipes in the tables; nothing was collected.",
        "rai:dataCollectionType": "Software Collection", **_provenance(jobs, versions or {}),
        "distribution": [*_objects(index), *_sets(index, suffix)], "recordSet": [_rows(index), *_pictures(index)],
    }  # fmt: skip
    return json.dumps(entry, indent=1, ensure_ascii=False) + "\n"


def _provenance(jobs: Sequence[JobFacts], versions: Mapping[str, str]) -> dict[str, Any]:
    """PROV-O: the rendering, what it used, the software and the operator's code, and what the values came from."""
    models = [
        {"@type": "prov:Entity", "@id": model.page or model.digest or model.name, "name": model.name,
         "identifier": model.digest or "unknown"}
        for model in models_of(jobs)
    ]  # fmt: skip
    libraries = [
        {"@type": "prov:SoftwareAgent", "name": name, "softwareVersion": said}
        for name, said in sorted({"seedfarm": software_version(), **versions}.items())
    ]
    libraries += [
        {"@type": "prov:SoftwareAgent", "name": f"{kind} {name}", "softwareVersion": version, "identifier": digest}
        for kind, name, version, digest in sorted(
            {(fact.kind, fact.name, fact.distribution or "unknown", fact.digest or "unknown")
             for job in jobs for fact in job.code}
        )
    ]  # fmt: skip
    sources = {(source.name, source.sha256) for job in jobs for source in job.sources}
    derived = [{"@type": "prov:Entity", "name": name, "sha256": sha256} for name, sha256 in sorted(sources)]
    return {
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity", "prov:label": "rendering by diffusion models",
            "prov:type": {"@id": TRAINED}, "prov:used": models, "prov:wasAssociatedWith": libraries,
        },
        **({"prov:wasDerivedFrom": derived} if derived else {}),
        "prov:wasAttributedTo": {"@type": "prov:SoftwareAgent", "name": "Seedfarm"},
    }  # fmt: skip


def _objects(index: Index) -> Iterator[dict[str, Any]]:
    for name, shard in (*sorted(index.shards.items()), *sorted(index.rejected.items())):
        if name != shard.metadata:
            yield _object(name, shard.sha256, size=_size(name, shard))
        yield _object(shard.metadata, shard.metadata_sha256)


def _size(name: str, shard: Shard) -> int | None:
    return shard.bytes if name.endswith((".tar", ".parquet")) else None


def _object(name: str, sha256: str, *, size: int | None = None) -> dict[str, Any]:
    measured = {} if size is None else {"contentSize": f"{size} B"}
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, **measured,
        "encodingFormat": _media(name), "sha256": sha256,
    }  # fmt: skip


def _media(name: str) -> str:
    return _MEDIA.get(name.rsplit(".", 1)[-1], "application/octet-stream")


def _sets(index: Index, suffix: str) -> Iterator[dict[str, Any]]:
    yield _set("metadata", "metadata/*.parquet", "application/x-parquet")
    if not index.shards:
        return
    if index.format == "webdataset":
        inside = [{"@id": name} for name in sorted(index.shards)]
        yield {**_set("picture-files", f"*.{suffix}", _media(suffix)), "containedIn": inside}
    elif index.format == "parquet":
        yield _set(
            "picture-files",
            [data_files(index, split, suffix=suffix) for split in index.splits],
            "application/x-parquet",
        )
    else:
        yield _set("picture-files", f"data/**/*.{suffix}", _media(suffix))


def _set(name: str, includes: str | list[str], media: str) -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": media, "includes": includes}


def _rows(index: Index) -> dict[str, Any]:
    """The flat rows: of every image, those included that are not in the data set."""
    return {
        "@type": "cr:RecordSet", "@id": "images", "name": "images", "key": {"@id": "images/image_id"},
        "description": "One row an image: how it came to be. Images that were rejected or failed have no file_name.",
        "field": [_column(column) for column in with_labels(index.labels)],
    }  # fmt: skip


def _column(column: Column) -> dict[str, Any]:
    marks = {"equivalentProperty": _EQUIVALENT[column.name]} if column.name in _EQUIVALENT else {}
    return {
        "@type": "cr:Field", "@id": f"images/{column.name}", "name": column.name, "description": column.note,
        "dataType": _TYPES[column.type], **marks,
        "source": {"fileSet": {"@id": "metadata"}, "extract": {"column": column.name}},
    }  # fmt: skip


_EQUIVALENT: Final = {"model_digest": "prov:used", "parent": "prov:wasDerivedFrom", "init_image": "prov:wasDerivedFrom"}


def _pictures(index: Index) -> Iterator[dict[str, Any]]:
    if not index.shards:
        return
    if index.format == "parquet":
        image = {
            "fileSet": {"@id": "picture-files"},
            "extract": {"column": "image"},
            "transform": {"jsonPath": "bytes"},
        }
        named = {"fileSet": {"@id": "picture-files"}, "extract": {"column": "file_name"}}
    else:
        image = {"fileSet": {"@id": "picture-files"}, "extract": {"fileProperty": "content"}}
        named = {"fileSet": {"@id": "picture-files"}, "extract": {"fileProperty": "filename"}}
    fields = [("file", "sc:Text", named), ("image", "sc:ImageObject", image)]
    yield {
        "@type": "cr:RecordSet", "@id": "pictures", "name": "pictures", "description": "The pictures themselves.",
        "field": [
            {"@type": "cr:Field", "@id": f"pictures/{name}", "name": name, "dataType": kind, "source": source}
            for name, kind, source in fields
        ],
    }  # fmt: skip
