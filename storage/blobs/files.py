"""Large files on their way into a store and out of it: block by block, and going on where they were cut off."""

from typing import BinaryIO, Final

from storage.blobs.base import Tell

BLOCK: Final = 8 * 2**20  # bytes


def copy_blocks(source: BinaryIO, target: BinaryIO, tell: Tell | None) -> None:
    """Copy what is left of `source`. Raises OSError."""
    while block := source.read(BLOCK):
        target.write(block)
        if tell is not None:
            tell(len(block))


def resume_at(file: BinaryIO, size: int, tell: Tell | None) -> int:
    """Where to go on with a file that was opened for appending: behind what it holds, unless that is too much.

    Returns:
        Bytes that the file holds now, of `size`.
    """
    held = file.tell()
    if held > size:
        file.seek(0)
        file.truncate()
        return 0
    if held and tell is not None:
        tell(held)
    return held
