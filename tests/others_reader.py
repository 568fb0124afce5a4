"""What another program finds in a file: sd-parsers, which knows nothing of us."""

from typing import BinaryIO

from sd_parsers import ParserManager
from sd_parsers.data import PromptInfo
from sd_parsers.extractors import _jpeg_usercomment


def read_by_others(file: BinaryIO) -> PromptInfo | None:
    """What it tells of a picture."""
    _jpeg_usercomment._image_id = None  # it keeps its last answer by the id of an object, and Python gives ids again
    return ParserManager().parse(file)
