"""What is written into picture files, and read from them: both rooms use it, and so may exports.

record      our own JSON                     infotext, samplers   the text of A1111
xmp, exif   the packets of those standards   credentials          signing finished files (C2PA)
embed       pixels and marks to bytes        containers, reading  bytes to marks

marks = Marks(recipe=recipe, plan=plan, libraries=libraries)
data = encode(picture, Encoding.of(spec.output), marks=marks)
read(data).record["recipe"]
"""

from storage.marks.embed import encode, pixel_sha256
from storage.marks.infotext import infotext_of
from storage.marks.reading import Found, read
from storage.marks.record import Level, Marks, record_of
from storage.spec.encoding import FORMATS, Encoding, Format

__all__ = [
    "FORMATS", "Encoding", "Format", "Found", "Level", "Marks",
    "encode", "infotext_of", "pixel_sha256", "read", "record_of",
]  # fmt: skip
