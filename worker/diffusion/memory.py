"""How a plan is carried out on the device: precision, kernels, compiled blocks, and tricks for small cards."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from storage.errors import OptionRefused, RefusedHere
from storage.spec.plan import Plan
from worker.renderer import Device

_KERNELS: Final = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


@contextlib.contextmanager
def under(plan: Plan) -> Iterator[None]:
    """Bring torch to what a plan says. Threads and TF32 stay so; kernels are as before afterwards."""
    if torch.get_num_threads() != plan.threads:
        torch.set_num_threads(plan.threads)
    torch.backends.cuda.matmul.allow_tf32 = plan.tf32
    torch.backends.cudnn.allow_tf32 = plan.tf32
    torch.backends.cudnn.benchmark = False  # picks kernels by time, so by chance
    with warnings.catch_warnings(), _kernel(plan):
        warnings.filterwarnings("ignore", message="In CPU autocast")  # the depth estimator asks for it in float32
        yield


def _kernel(plan: Plan) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if plan.attention == "sdpa" else sdpa_kernel(_KERNELS[plan.attention])


def placement(plan: Plan) -> str:
    """What a loaded checkpoint is prepared for; another one is another resident."""
    return f"{plan.offload}{'+compiled' if plan.compile else ''}"


def prepare(pipe: Any, plan: Plan, device: torch.device) -> None:
    """Prepare a pipeline that was just loaded.

    Raises:
        OptionRefused: The device or the family cannot do it.
    """
    if plan.offload != "none":
        if device.type == "cpu":
            raise RefusedHere("plan.offload", plan.offload, "moves weights off a card, and this worker has none")
        offload = pipe.enable_model_cpu_offload if plan.offload == "model" else pipe.enable_sequential_cpu_offload
        offload(device=device)
    if plan.compile:
        core = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
        if core is None or not getattr(core, "_repeated_blocks", None):
            raise OptionRefused("plan.compile", True, f"{type(pipe).__name__} names no repeated blocks")
        core.compile_repeated_blocks(fullgraph=True)


def free_memory(device: Device) -> str:
    """What a device has left, for people."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
    else:
        total = device.memory_bytes
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") if total else 0
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


@contextlib.contextmanager
def small_vae(vae: Any, plan: Plan) -> Iterator[None]:
    """Slicing and tiling for one call; the VAE is shared with pipelines of other plans."""
    for wanted, name in ((plan.vae_slicing, "slicing"), (plan.vae_tiling, "tiling")):
        if wanted and not hasattr(vae, f"enable_{name}"):
            raise OptionRefused(f"plan.vae_{name}", True, f"{type(vae).__name__} has none")
    try:
        if plan.vae_slicing:
            vae.enable_slicing()
        if plan.vae_tiling:
            vae.enable_tiling()
        yield
    finally:
        if plan.vae_slicing:
            vae.disable_slicing()
        if plan.vae_tiling:
            vae.disable_tiling()


@contextlib.contextmanager
def in_float32(pipes: Sequence[Any]) -> Iterator[None]:
    """All weights of some pipelines in float32, and exactly as they were afterwards."""
    modules = {
        id(part): part for pipe in pipes for part in pipe.components.values() if isinstance(part, torch.nn.Module)
    }
    tensors = [tensor for part in modules.values() for tensor in (*part.parameters(), *part.buffers())]
    halves = [(tensor, tensor.data) for tensor in tensors if tensor.dtype in (torch.float16, torch.bfloat16)]
    try:
        for tensor, _ in halves:
            tensor.data = tensor.data.to(torch.float32)
        yield
    finally:
        for tensor, data in halves:
            tensor.data = data
