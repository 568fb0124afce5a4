"""The images of several jobs as columns of plain numbers: some eighty bytes an image, whatever they show."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from storage.sql.hashes import Noise

_PIXELS: Final = 32  # bytes of a SHA-256
_BLANK: Final = bytes(_PIXELS)


@dataclass
class Columns:
    """One entry an image, in the order of the jobs and of their numbers."""

    jobs: "array[int]" = field(default_factory=lambda: array("I"))  # place among the jobs that were given
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    seeds: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))  # width and height in one number
    looks: "array[int]" = field(default_factory=lambda: array("Q"))  # perceptual hash
    has_looks: bytearray = field(default_factory=bytearray)
    pixels: bytearray = field(default_factory=bytearray)
    links: dict[int, tuple[str, int]] = field(default_factory=dict)  # entry -> the image that it links to

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, job: int, image: Noise) -> None:
        """Add an image of the job with that place."""
        if image.linked_job is not None and image.linked_number is not None:
            self.links[len(self)] = (image.linked_job, image.linked_number)
        self.jobs.append(job)
        self.numbers.append(image.number)
        self.seeds.append(image.seed)
        self.sizes.append(image.width << 32 | image.height)
        self.looks.append(0 if image.phash is None else int(image.phash, 16))
        self.has_looks.append(image.phash is not None)
        self.pixels += _BLANK if image.pixel_sha256 is None else bytes.fromhex(image.pixel_sha256)

    def pixel_hashes(self) -> Iterator[tuple[int, str]]:
        """Entry and hash of the pixels, of every image that has one."""
        for entry in range(len(self)):
            found = bytes(self.pixels[entry * _PIXELS : (entry + 1) * _PIXELS])
            if found != _BLANK:
                yield entry, found.hex()

    def perceptual_hashes(self) -> Iterator[tuple[int, str]]:
        """Entry and perceptual hash, of every image that has one."""
        return ((entry, f"{look:016x}") for entry, look in enumerate(self.looks) if self.has_looks[entry])

    def same_noise(self) -> Iterator[list[int]]:
        """Entries of one seed and size, of every such that several images have; the earliest first."""
        import numpy as np

        seeds, sizes = np.frombuffer(self.seeds, dtype=np.int64), np.frombuffer(self.sizes, dtype=np.int64)
        order = np.lexsort((np.arange(len(self)), sizes, seeds))
        sorted_seeds, sorted_sizes = seeds[order], sizes[order]
        changes = (sorted_seeds[1:] != sorted_seeds[:-1]) | (sorted_sizes[1:] != sorted_sizes[:-1])
        edges = np.concatenate(([0], np.flatnonzero(changes) + 1, [len(self)]))
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if high - low > 1:
                yield order[low:high].tolist()
