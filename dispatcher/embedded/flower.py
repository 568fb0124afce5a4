"""Flower, started so that it is safe and readable: on loopback, behind a password, with the columns that matter.

The password goes through the environment, never through the command line, where every user of the host could read it.
Flower is a view: the farm's record is SQL.
"""

import os
import secrets
import socket
import sys

import click

from storage.errors import PortTaken
from storage.settings import Settings
from storage.wire.broker_safety import celery_url

USER = "farm"
COLUMNS = "name,uuid,state,args,result,received,started,runtime,worker"
MAX_TASKS = 10_000  # it keeps tasks in memory and grows slow far above that


def run_flower(settings: Settings, *, broker_url: str, address: str, port: int) -> None:
    """Replace this process by Flower.

    Raises:
        PortTaken: Another program listens there.
    """
    _probe(address, port)
    password = settings.flower_password
    secret = secrets.token_urlsafe(12) if password is None else password.get_secret_value()
    state = settings.home / "flower.db"
    state.parent.mkdir(parents=True, exist_ok=True)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FARM_FLOWER")},
        "CELERY_BROKER_URL": celery_url(broker_url), "FLOWER_BASIC_AUTH": f"{USER}:{secret}", "FLOWER_ADDRESS": address,
        "FLOWER_PORT": str(port), "FLOWER_PERSISTENT": "True", "FLOWER_DB": str(state),
        "FLOWER_MAX_TASKS": str(MAX_TASKS), "FLOWER_TASKS_COLUMNS": COLUMNS, "FLOWER_STATE_SAVE_INTERVAL": "60000",
    }  # fmt: skip
    shown = secret if password is None else "FARM_FLOWER_PASSWORD"
    click.echo(f"Flower on http://{address}:{port}  user {USER}, password {shown}")
    sys.stdout.flush()
    program = sys.executable
    os.execve(program, [program, "-m", "celery", "flower"], env)  # noqa: S606


def _probe(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            raise PortTaken(f"{address}:{port}", "--port or FARM_FLOWER_PORT") from None
