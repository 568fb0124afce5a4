"""Several processes on one training run, or just one.

Two processes of one thread each meet once per step, two threads of one process at every
layer: on busy cores the processes lose less time waiting. `torchrun` starts them; a run
without it is a crew of one, and nothing here does anything.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn


def join() -> None:
    """Meet the processes that torchrun started beside this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo")


def leave() -> None:
    """Part in good order."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wait() -> None:
    """Go on when all have come this far."""
    if dist.is_initialized():
        dist.barrier()


@torch.no_grad()
def share_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the crew."""
    if size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat / size(), [g.numel() for g in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
