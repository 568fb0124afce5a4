"""What a command can see of those who work: the leader's row in SQL, and workers through the broker."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dispatcher.service.broker import Broker
from storage.errors import BrokerAway
from storage.sql import Database, leading
from storage.wire.messages import Heartbeat

_POLL_S: Final = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Hall:
    """Workers, as the broker shows them. Who is silent is judged as the dispatcher does, by a shorter look."""

    live: Sequence[Heartbeat] = ()
    silent: Mapping[str, float] = field(default_factory=dict)  # node -> seconds since it last beat
    quarantined: Mapping[str, str] = field(default_factory=dict)  # node -> why its device is not started again
    away: str = ""  # why nothing can be seen, or empty


def look(broker: Broker | None, *, silence_s: float) -> Hall:
    """Read what the broker shows; one that is away only hides the workers.

    Args:
        broker: None where there is none yet.
        silence_s: Without a heartbeat, after which a worker counts as silent.
    """
    if broker is None:
        return Hall(away="there is no broker yet; 'farm up' starts one, or set FARM_BROKER_URL")
    try:
        beats = sorted(broker.hear().heartbeats, key=lambda beat: beat.node)
        ages, quarantined = broker.ages(beats), broker.quarantined()
    except BrokerAway as error:
        return Hall(away=str(error))
    live = [beat for beat in beats if ages.get(beat.node, 0.0) <= silence_s]
    silent = {node: age for node, age in ages.items() if age > silence_s}
    return Hall(live=live, silent=silent, quarantined=quarantined)


def leader_problem(database: Database, *, patience_s: float) -> str:
    """Why nobody acts on what SQL says, or empty. Returns as soon as the leader's beat moves.

    Args:
        database: SQL.
        patience_s: How long a leader may take between two beats.

    Raises:
        DatabaseAway: SQL does not answer.
    """
    first = _peek(database)
    if first is None or not first.holder:
        return "no dispatcher leads; start one: ./farm up, or ./farm dispatcher"
    host, pid = _parse(first.holder)
    if host == socket.gethostname() and pid is not None and not _lives(pid):
        return f"the dispatcher that led is gone (process {pid}); start one: ./farm up, or ./farm dispatcher"
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if _peek(database) != first:
            return ""
        time.sleep(_POLL_S)
    return f"the dispatcher on {host} (process {pid}) has stood still for {patience_s:.0f} s; see its log"


def _peek(database: Database) -> leading.Lead | None:
    with database.read() as connection:
        return leading.peek(connection)


def _parse(holder: str) -> tuple[str, int | None]:
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    return host, int(pid) if pid.isdigit() else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
