"""The plan: what decides the low bits of a picture besides its recipe.

It is chosen once per job and image size, when the first chunk is issued, so that every image of that size is
rendered alike, whoever does it and whenever.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from storage.spec.canonical import digest
from storage.spec.kinds import Attention, Dtype, Offload

_CPU_BATCH_PIXELS = 32 * 64 * 64  # tiny pictures gain from batches on a CPU, large ones do not
_GPU_BATCH_PIXELS = 8 * 512 * 512


class Plan(BaseModel):
    """How a chunk is rendered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device_type: Literal["cpu", "cuda"]
    dtype: Dtype
    batch: int  # images of one pipeline call; tails are padded to it
    threads: int  # CPU threads
    tf32: bool
    attention: Attention = "sdpa"  # "sdpa": torch chooses the kernel
    compile: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False
    offload: Offload = "none"

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical spelling."""
        return digest(self.model_dump())

    @property
    def cuts_pictures(self) -> bool:
        """Whether a picture's place in its batch may change its low bits; see `choose_plan`."""
        return self.device_type == "cpu" and self.batch > 1 and self.threads > 1


def choose_plan(
    pins: Mapping[str, Any], *, device_type: str, threads: int, size: tuple[int, int], company: int
) -> Plan:
    """The plan for one image size on one kind of device.

    On a CPU several threads cut a batch where they like, also within a picture, and a picture that is cut has other low
    bits than its neighbours. So what is silent is chosen such that a picture's place in its batch does not matter:
    several pictures a call and one thread, or all threads for one picture.

    Args:
        pins: What the job fixes under `plan:`.
        device_type: "cpu" or "cuda".
        threads: That a worker on this device offers.
        size: Width and height of the image in pixels.
        company: How many images may share a pipeline call. They are split evenly: forty go as two twenties, since 32
            and 8 would draw 24 images of padding.
    """
    room = _CPU_BATCH_PIXELS if device_type == "cpu" else _GPU_BATCH_PIXELS
    largest = max(1, min(32 if device_type == "cpu" else 16, room // (size[0] * size[1])))
    batch = ceil(company / ceil(company / largest))
    if device_type == "cpu":
        batch = 1 if pins.get("threads", 1) > 1 else batch
        threads = 1 if pins.get("batch", batch) > 1 else threads
    chosen = {
        "device_type": device_type,
        "dtype": "float32" if device_type == "cpu" else "float16",
        "batch": batch,
        "threads": threads if device_type == "cpu" else 1,
        "tf32": False,
    }
    return Plan.model_validate({**chosen, **pins})
