"""One run of a chunk by the real renderer, in this process or in a fresh one."""

from pathlib import Path
from typing import Any

import torch

from storage.settings import Settings
from storage.spec.plan import Plan
from storage.wire.messages import ChunkMessage
from worker.diffusion import DiffusionRenderer
from worker_bench import Bench

PLAN = Plan(device_type="cpu", dtype="float32", batch=4, threads=1, tf32=False)
HALVED = PLAN.model_copy(update={"batch": 2})


def real_bench(folder: Path, *, resident: int = 2) -> Bench:
    """The tools of a child with the real renderer."""
    torch.set_num_threads(1)
    return Bench(folder, DiffusionRenderer(Settings(home=folder, resident_pipelines=resident)))


def message_of(bench: Bench, model: Path, *, plan: Plan, **more: Any) -> ChunkMessage:
    """Six small images, in three steps each."""
    message = bench.freeze(model=str(model), steps=3, width=32, height=32, **more)
    return message.model_copy(update={"plan": plan})


def pixels(folder: Path, model: Path) -> list[str]:
    """What the halved plan draws, in a process where nothing ever went wrong."""
    bench = real_bench(folder)
    return [image.pixel_sha256 for image in bench.run(message_of(bench, model, plan=HALVED)).images]
