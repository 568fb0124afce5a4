"""`farm doctor`: is every part there?"""

import shutil
from collections.abc import Callable

import click

from dispatcher.cli.common import echo_json, json_option, open_farm
from dispatcher.farm import Farm
from storage.errors import BrokerAway, FarmError
from storage.settings import Settings
from storage.wire.broker_safety import problem_of

MIN_FREE_BYTES = 2 * 2**30


@click.command(short_help="Look at every part; say what is away.")
@json_option
def doctor(as_json: bool) -> int:
    """Look at every part of the farm and say what is away and what to do. Exit code 1 if something is."""
    farm = open_farm()
    checks: list[tuple[str, Callable[[Farm], str]]] = [
        ("database", _database), ("store", _store), ("broker", _broker), ("workers", _workers), ("disk", _disk),
    ]  # fmt: skip
    findings = []
    for name, look in checks:
        try:
            findings.append({"part": name, "ok": True, "says": look(farm)})
        except FarmError as error:
            findings.append({"part": name, "ok": False, "says": str(error)})
    if as_json:
        echo_json(findings)
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding["ok"] else click.style("away", fg="red")
            click.echo(f"{mark}  {finding['part']:<9} {finding['says']}")
    return 0 if all(finding["ok"] for finding in findings) else 1


def _database(farm: Farm) -> str:
    return farm.database.address


def _store(farm: Farm) -> str:
    return farm.store.address


def _broker(farm: Farm) -> str:
    from dispatcher.cli.parts.services import _broker_url
    from dispatcher.service.broker import Broker
    from storage.errors import InvalidSetting

    try:
        broker = Broker(_broker_url(farm.settings))
    except InvalidSetting:
        return "embedded; starts with 'farm up' or 'farm run'"
    try:
        broker.hear()
    except BrokerAway as error:
        if farm.settings.broker_url is None:
            return "embedded; not running now, starts with 'farm up' or 'farm run'"
        address, reason = error.args
        raise BrokerAway(address, f"{reason}{_openness(farm.settings)}") from None
    return f"{broker.address}{_openness(farm.settings)}"


def _openness(settings: Settings) -> str:
    """A word of warning about a broker that only FARM_INSECURE_BROKER lets through."""
    url = "" if settings.broker_url is None else settings.broker_url.get_secret_value()
    if not url or problem_of(url, insecure=False) is None:
        return ""
    return "; it has no password, and FARM_INSECURE_BROKER lets anybody who reaches it run this farm"


def _workers(farm: Farm) -> str:
    from dispatcher.cli.parts.services import _broker_url
    from dispatcher.service.broker import Broker
    from dispatcher.views.progress import describe_worker

    try:
        beats = Broker(_broker_url(farm.settings)).hear().heartbeats
    except FarmError:
        return "none while no broker runs"
    return ", ".join(f"{beat.node} ({beat.device}): {describe_worker(beat)}" for beat in beats) or "none yet"


def _disk(farm: Farm) -> str:
    home = farm.settings.home
    free = shutil.disk_usage(next(folder for folder in (home, *home.parents) if folder.exists())).free
    warning = "; little for a bulk job" if free < MIN_FREE_BYTES else ""
    return f"{free / 2**30:.1f} GiB free at {home}{warning}"
