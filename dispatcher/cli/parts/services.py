"""Commands that run until they are stopped: the farm on this host, one dispatcher, Flower."""

import os
import signal
import threading
from typing import Any

import click

from dispatcher.cli.common import open_farm
from storage.errors import InvalidSetting
from storage.settings import Settings, without_password


@click.command(short_help="Run the farm on this host until Ctrl-C.")
@click.option("--devices", default="all", show_default=True, help="all (every GPU, else the CPU), cpu, or 0,1.")
def up(devices: str) -> int:
    """Run the farm on this host until Ctrl-C: broker, dispatcher, one worker a device.

    'farm submit', 'farm run' and 'farm watch' in another terminal use it.
    """
    from dispatcher.embedded.host import EmbeddedFarm

    farm = open_farm()
    farm.database.prepare()
    store = farm.store
    stopped = _stop_event()
    with EmbeddedFarm(farm.settings, devices=devices) as embedded:
        if not embedded.is_owner:
            click.echo("a farm is up on this FARM_HOME already; this one takes over when it ends")
        click.echo(f"broker    {without_password(embedded.broker_url)}")
        click.echo(f"database  {farm.database.address}")
        click.echo(f"store     {store.address}")
        click.echo(f"logs      {farm.settings.home / 'logs'}")
        click.echo("up; Ctrl-C ends it. Next: ./farm submit FILE, ./farm watch @last")
        while not stopped.wait(0.5):
            embedded.tend()
    return 0


@click.command(short_help="Run a dispatcher: it feeds workers and records.")
def dispatcher() -> int:
    """Run one dispatcher: it cuts jobs into chunks, feeds workers and records what they made.

    Several may run; one leads, the others stand by.
    """
    from dispatcher.service.process import Dispatcher
    from storage.logs import configure

    farm = open_farm()
    configure(farm.settings.log_level)
    service = Dispatcher(farm.settings, farm.database, farm.store, broker_url=_broker_url(farm.settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run()
    return 0


@click.command(short_help="Show Celery's side of the farm in Flower.")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: FARM_FLOWER_PORT]")
@click.option("--address", default="127.0.0.1", show_default=True, help="Interface to listen on.")
def flower(port: int | None, address: str) -> None:
    """Show Celery's side of the farm in Flower, behind a password.

    The user is farm; the password is FARM_FLOWER_PASSWORD, or made up and printed.
    """
    from dispatcher.embedded.flower import run_flower

    farm = open_farm()
    url = _broker_url(farm.settings)
    run_flower(farm.settings, broker_url=url, address=address, port=port or farm.settings.flower_port)


def _broker_url(settings: Settings) -> str:
    """The broker of the settings, or that of the embedded farm that is up."""
    if settings.broker_url is not None:
        return settings.broker_url.get_secret_value()
    from dispatcher.embedded.valkey import known_address

    address = known_address(settings.home)
    if address is None:
        raise InvalidSetting("FARM_BROKER_URL", "", "not set, and no farm was ever up here; set it, or run 'farm up'")
    return address.url


def _stop_event() -> threading.Event:
    stopped = threading.Event()
    asked: list[bool] = []

    def stop(*_: Any) -> None:
        if asked:
            os._exit(130)
        asked.append(True)
        stopped.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return stopped
