"""CLIP's vocabulary, which single files leave out: taken from an installed package that carries it.

Each of these ships the same list of merges, in a file that can be read without importing the package. Its hash is
checked, so that it makes no difference which one is installed.
"""

import gzip
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from storage.errors import PermanentError

_CARRIERS: Final = {  # package -> files in it
    "instant_clip_tokenizer": "*.so",
    "open_clip": "bpe_simple_vocab_16e6.txt.gz",
    "clip": "bpe_simple_vocab_16e6.txt.gz",
}
_FIRST: Final = b"#version: 0.2\n"  # the line before the first merge
_BYTES: Final = 524_604  # of the merges that CLIP uses, of the many in the list
_SHA256: Final = "f61f2adf497e6f5357c347aeb4646fabe82f341e946de5bdec5d2858e41bef4a"
_LENGTH: Final = 77  # tokens that a text encoder takes


class VocabularyMissing(PermanentError):
    """No installed package carries CLIP's vocabulary."""

    text = (
        "a checkpoint of one file needs CLIP's vocabulary, and no installed package carries it; "
        "run 'pip install instant-clip-tokenizer' on this worker's host, or use a diffusers folder"
    )


def clip_tokenizer(*, pad: str) -> Any:
    """A CLIPTokenizer as the models of OpenAI and OpenCLIP were trained with.

    Args:
        pad: The token that fills a prompt up: "<|endoftext|>" for OpenAI's encoder, "!" for OpenCLIP's.

    Raises:
        VocabularyMissing: See there.
    """
    from transformers import CLIPTokenizer

    merges = merges_of(_merges())
    symbols = list(_symbols())
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: number for number, word in enumerate(words)}
    # The annotation says list[str]; what it is handed to takes pairs.
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=_LENGTH, pad_token=pad)  # type: ignore[arg-type]


def merges_of(text: bytes) -> list[tuple[str, str]]:
    """Read pairs, one a line."""
    pairs = (line.split(" ") for line in text.decode().split("\n"))
    return [(left, right) for left, right in pairs]


@cache
def _merges() -> bytes:
    for package, pattern in _CARRIERS.items():
        for file in _files(package, pattern):
            data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            start = data.find(_FIRST) + len(_FIRST)
            found = data[start : start + _BYTES]
            if hashlib.sha256(found).hexdigest() == _SHA256:
                return found
    raise VocabularyMissing


def _files(package: str, pattern: str) -> Iterator[Path]:
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(folder).glob(pattern))


def _symbols() -> Iterator[str]:
    """The letter that stands for each byte, in the order in which the vocabulary counts them: printable ones first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printable)
    yield from map(chr, range(256, 256 + 256 - len(printable)))
