"""`farm-worker`: the command line of a host that renders."""

import logging
import sys
from typing import Any

import click

from storage import logs
from storage.blobs import open_store
from storage.errors import FarmError, StoreAway, UserError
from storage.settings import load_settings
from worker.devices import core_count, find_cards, host_name, plan_nodes
from worker.host.keeper import Circumstances
from worker.host.notices import Notices
from worker.node import need_broker
from worker.supervisor import Supervisor

log = logging.getLogger("worker.cli")


class _Group(click.Group):
    """Words an error of the farm on one line; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FarmError as error:
            click.echo(f"farm-worker: {error}", err=True)
            ctx.exit(2 if isinstance(error, UserError) else 1)


@click.group(cls=_Group)
def main() -> None:
    """Render chunks on the devices of this host."""


@main.command()
@click.option("--devices", default="all", show_default=True, help="all, cpu, or numbers of GPUs such as 0,1.")
@click.option("--name", help="First part of the nodes' names; silent: the host's name.")
def start(devices: str, name: str | None) -> None:
    """Start one worker per device and keep them alive.

    Needs FARM_BROKER_URL and, unless the farm runs on this host, FARM_STORE_URL. SIGTERM or Ctrl-C ends all workers
    at their next step; a second one at once. A worker that hangs is killed and started again. One whose device breaks
    three times in ten minutes is left alone until the next start of this command.
    """
    settings = load_settings()
    broker_url = need_broker(settings)
    store = open_store(settings.store_address, endpoint=settings.s3_endpoint, region=settings.s3_region)
    logs.configure(settings.log_level)
    try:
        store.check(create=False)
    except StoreAway as error:  # the parts of a farm may come up in any order
        log.warning("the workers will wait for the store", extra={"reason": error})
    plans = plan_nodes(
        devices, host=host_name(name), cards=find_cards(), cores=core_count(), threads=settings.cpu_threads
    )
    scale = settings.time_scale
    shared = Circumstances(home=settings.home, scale=scale, notices=Notices(broker_url, scale=scale))
    sys.exit(Supervisor(plans, shared).run())


if __name__ == "__main__":
    main()
