"""What an exception of a pipeline or a driver means, and how to let go of what it holds. Without torch.

Classes are known by their names, since this is asked where torch must not be imported. Most drivers say only in words
what happened.
"""

import traceback
from typing import Final

OUT_OF_MEMORY: Final = "out_of_memory"
DEVICE_ERROR: Final = "device_error"
ERROR: Final = "error"
_NO_MEMORY: Final = ("OutOfMemoryError", "MemoryError")
_SAYS_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory", "cublas_status_alloc_failed")
_SAYS_DEVICE: Final = ("cuda error", "device-side assert")
_LONGEST: Final = 300  # characters of a sentence


def classify(error: BaseException) -> tuple[str, str]:
    """A short class and a sentence."""
    kind, said = type(error).__name__, str(error)
    text = f"{kind}: {said}".strip().splitlines()[0][:_LONGEST]
    if kind in ("EmptyMask", "FlatDepth"):
        return "input_unusable", said
    if kind in _NO_MEMORY or any(words in said.lower() for words in _SAYS_MEMORY):
        return OUT_OF_MEMORY, text
    if kind == "AcceleratorError" or any(words in said.lower() for words in _SAYS_DEVICE):
        return DEVICE_ERROR, text
    return ERROR, text


def is_of_device(error: BaseException) -> bool:
    """Whether an error tells of the device or its memory, and so nothing of the model or the picture at hand."""
    return classify(error)[0] in (OUT_OF_MEMORY, DEVICE_ERROR)


def let_go(error: BaseException) -> None:
    """Empty the frames that an exception keeps alive, and those of what it came from: they hold a batch's tensors."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        traceback.clear_frames(each.__traceback__)
        left += [each.__cause__, each.__context__]
