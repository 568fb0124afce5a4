"""What a job says of its files, frozen: what it leaves open is filled in, what says nothing is left out."""

from typing import Any

from storage.errors import InvalidSpec
from storage.spec.encoding import FORMATS
from storage.spec.file.jobfile import Output


def frozen_output(output: Output) -> dict[str, Any]:
    """The `output` of a spec; {"format": "png"} for a job that is silent.

    Raises:
        InvalidSpec: Two keys contradict each other.
    """
    kind = FORMATS[output.format]
    if output.lossless and kind.name != "webp":
        raise InvalidSpec("output.lossless", output.lossless, f"has no place with format {kind.name}; only with webp")
    if output.quality is not None and kind.quality is None:
        rule = f"has no place with format {kind.name}, which keeps every pixel; only with jpeg, webp"
        raise InvalidSpec("output.quality", output.quality, rule)
    if output.quality is not None and output.lossless:
        raise InvalidSpec("output.quality", output.quality, "does nothing with lossless; keep one of the two")
    said: dict[str, Any] = {"format": kind.name}
    if output.lossless:
        said["lossless"] = True
    elif kind.quality is not None:
        said["quality"] = output.quality or kind.quality
    if output.metadata != "full":
        said["metadata"] = output.metadata
    elif not output.prompts:  # the other levels hold none
        said["prompts"] = False
    return said if output.watermark is None else {**said, "watermark": output.watermark}
