"""A training stage that can be killed at any step.

A stage is some modules, a loss and a number of steps. Whatever a step draws comes from
generators seeded by the step's number, so a checkpoint needs no random state and a
resumed run sees the data an unbroken one would have seen.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from . import crew


@dataclass(frozen=True)
class Draw:
    """The randomness of one step."""

    generator: torch.Generator
    rng: random.Random

    @classmethod
    def of(cls, seed: int, step: int) -> "Draw":
        """The same numbers for the same seed and step, whatever ran before."""
        number = seed * 1_000_003 + step
        return cls(torch.Generator().manual_seed(number), random.Random(number))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is fixed about a stage before it starts."""

    name: str
    steps: int
    batch: int  # per process
    peak: float  # learning rate after the warm-up
    ema: float  # share of the old average kept per step
    seed: int
    save_every_s: float = 60.0
    warmup: int = 100  # steps

    def rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to 2 % of the peak."""
        warm = min(1.0, (step + 1) / max(1, min(self.warmup, self.steps // 10)))
        return self.peak * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * step / self.steps)) / 2)


class Average:
    """Exponential moving average of parameters, quick to follow at the start."""

    def __init__(self, parameters: Iterable[nn.Parameter], keep: float) -> None:
        self.parameters = list(parameters)
        self.keep = keep
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters as they are after a step."""
        keep = min(self.keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - keep)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Put the averages in the parameters' place."""
        torch._foreach_copy_(self.parameters, self.values)


class Training:
    """All that changes while a stage runs, and the file it is kept in."""

    def __init__(self, modules: nn.ModuleDict, *, stage: Stage, folder: Path) -> None:
        self.modules, self.stage = modules, stage
        self.path = folder / f"{stage.name}.pt"
        self.parameters = [p for p in modules.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=stage.peak, betas=(0.9, 0.99), weight_decay=0.01)
        self.average = Average(self.parameters, stage.ema)
        self.step = 0

    def load(self) -> None:
        """Go on from the file, if there is one."""
        if not self.path.exists():
            return
        state = torch.load(self.path)
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.values = state["average"]
        self.step = state["step"]
        print(f"{self.stage.name} goes on at step {self.step}", flush=True)

    def save(self) -> None:
        """Write beside the file and rename, so that a kill leaves the old one whole.

        All processes hold the same weights: the first one writes.
        """
        if crew.rank():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        state = {"modules": self.modules.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "average": self.average.values, "step": self.step}, fresh)
        fresh.replace(self.path)

    def advance(self, loss_of: Callable[[Draw], Tensor]) -> float:
        """One step; gives its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.rate(self.step)
        loss = loss_of(Draw.of(self.stage.seed + crew.rank(), self.step))
        self.optimizer.zero_grad()
        loss.backward()
        crew.share_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.average.update(self.step)
        self.step += 1
        return loss.item()


class Progress:
    """A line every ten seconds: step, loss, speed, time left."""

    EVERY_S = 10.0

    def __init__(self, stage: Stage, step: int) -> None:
        self.stage, self.told_step, self.told_s = stage, step, time.monotonic()
        self.losses: deque[float] = deque(maxlen=100)

    def tell(self, step: int, loss: float) -> None:
        """Note a loss; print if it is time or the stage is over."""
        self.losses.append(loss)
        now_s, stage = time.monotonic(), self.stage
        early = now_s - self.told_s < self.EVERY_S and step < stage.steps
        if early or crew.rank():
            return
        together = stage.batch * crew.size()
        rate = (step - self.told_step) * together / max(now_s - self.told_s, 1e-9)
        left_s = int((stage.steps - step) * together / rate)
        mean = sum(self.losses) / len(self.losses)
        print(
            f"{stage.name} {step}/{stage.steps}  loss {mean:.4f}  {rate:.0f} samples/s"
            f"  ETA {left_s // 60}m{left_s % 60:02d}s",
            flush=True,
        )
        self.told_s, self.told_step = now_s, step


def train(modules: nn.ModuleDict, loss_of: Callable[[Draw], Tensor], *, stage: Stage, folder: Path) -> None:
    """Run a stage to its end, from its checkpoint if there is one.

    Args:
        modules: Everything to be saved; only parameters that require gradients are trained.
        loss_of: Draws a batch and gives its mean loss.
        stage: Steps, rates and the seed. Fewer steps than before are fine on a resume:
            the learning rate falls in sooner.
        folder: Where `<stage name>.pt` lies.

    The modules end in eval mode with averaged weights.
    """
    modules.train()
    training = Training(modules, stage=stage, folder=folder)
    training.load()
    crew.wait()  # or the first could save before the last has loaded
    progress, saved_s = Progress(stage, training.step), time.monotonic()
    while training.step < stage.steps:
        loss = training.advance(loss_of)
        progress.tell(training.step, loss)
        if training.step == stage.steps or time.monotonic() - saved_s > stage.save_every_s:
            training.save()
            saved_s = time.monotonic()
    training.average.copy_to_model()
    modules.eval()
