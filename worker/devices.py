"""Which devices a host has and which of them get a node, without importing torch.

A process that touched CUDA cannot pin its children to a card any more, so the cards are counted from outside: by
`nvidia-smi`, or by what the driver shows under /proc.
"""

import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.errors import UserError

_LISTED = re.compile(r"^GPU (?P<index>\d+): (?P<name>.+?) \(UUID: (?P<uuid>[\w-]+)\)", re.MULTILINE)
_PROC = Path("/proc/driver/nvidia/gpus")
_SMI_LIMIT_S = 30  # a driver that wakes up its cards takes seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One GPU of this host."""

    index: int  # in PCI order, as nvidia-smi counts
    uuid: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePlan:
    """One node to start: its name, its card (None: the CPU) and its share of the cores."""

    name: str
    card: Card | None
    threads: int

    @property
    def environment(self) -> dict[str, str]:
        """What must be set before torch is imported."""
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": self.card.uuid if self.card else "",
            "OMP_NUM_THREADS": str(self.threads),
            "TRANSFORMERS_VERBOSITY": "error",  # it warns of every optional package that is not there
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow shared cores down by an order of magnitude
            "GOMP_SPINCOUNT": "0",
            "TOKENIZERS_PARALLELISM": "false",
        }


def find_cards() -> list[Card]:
    """The GPUs that this process may use, in PCI order; heeds CUDA_VISIBLE_DEVICES."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_SMI_LIMIT_S, check=False)
        cards = read_listing(done.stdout)
    except (OSError, subprocess.TimeoutExpired):
        cards = []
    return visible(cards or _from_proc(_PROC), os.environ.get("CUDA_VISIBLE_DEVICES"))


def read_listing(text: str) -> list[Card]:
    """The cards that `nvidia-smi -L` lists."""
    return [Card(index=int(found["index"]), uuid=found["uuid"], name=found["name"]) for found in _LISTED.finditer(text)]


def visible(cards: Sequence[Card], allowed: str | None) -> list[Card]:
    """Those of `cards` that CUDA_VISIBLE_DEVICES (None: not set) leaves to us."""
    if allowed is None:
        return list(cards)
    names = [name.strip() for name in allowed.split(",") if name.strip()]
    return [card for card in cards if any(name == str(card.index) or card.uuid.startswith(name) for name in names)]


def plan_nodes(
    devices: str, *, host: str, cards: Sequence[Card], cores: int, threads: int | None = None
) -> list[NodePlan]:
    """Name the nodes that `--devices` asks for.

    Args:
        devices: "all", or a list such as "cpu", "0,1", "cpu,cpu".
        host: First part of the names.
        cards: That there are.
        cores: To be shared by the nodes.
        threads: Of a CPU node where the operator fixed them (FARM_CPU_THREADS).

    Raises:
        UserError: A word that is no device, or a card that is not there.
    """
    words = [word.strip() for word in devices.split(",")]
    if words == ["all"]:
        words = [str(card.index) for card in cards] or ["cpu"]
    by_index = {str(card.index): card for card in cards}
    for word in words:
        if word != "cpu" and word not in by_index:
            rule = f"write all, cpu, or numbers of GPUs (found: {', '.join(by_index) or 'none'})"
            raise UserError(f"--devices {devices}: no device {word!r}; {rule}")
        if word != "cpu" and words.count(word) > 1:
            raise UserError(f"--devices {devices}: GPU {word} twice; a card takes one node")
    share = max(1, cores // len(words))
    lone = words.count("cpu") == 1
    names = [f"cpu{'' if lone else place}" if word == "cpu" else f"gpu{word}" for place, word in enumerate(words)]
    return [
        NodePlan(
            name=f"{host}-{name}",
            card=by_index.get(word),
            threads=(threads or share) if word == "cpu" else share,
        )
        for word, name in zip(words, names, strict=True)
    ]


def host_name(given: str | None = None) -> str:
    """The host's part of node names: what was given, or the first part of the host's own name.

    Raises:
        UserError: The given name has other characters than [a-z0-9-].
    """
    if given is not None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?", given):
            raise UserError(f"--name {given}: must be of a-z, 0-9 and '-', at most 48 characters")
        return given
    short = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", short).strip("-")[:48] or "worker"


def own_environment(base: Mapping[str, str], plan: NodePlan) -> dict[str, str]:
    """The environment of a node's process."""
    return {**base, **plan.environment}


def core_count() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _from_proc(folder: Path) -> list[Card]:
    cards = []
    for place, entry in enumerate(sorted(folder.glob("*/information"))):  # folders are named by PCI address
        facts = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
        uuid = facts.get("GPU UUID", "").strip()
        cards.append(Card(index=place, uuid=uuid or str(place), name=facts.get("Model", "NVIDIA GPU").strip()))
    return cards
