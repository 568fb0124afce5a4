"""A model becomes one of the farm's: its bytes into the object store, or its commit on the hub, then one row."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dispatcher.farm import Farm
from storage.errors import ModelMissing, ModelUnusable, UnknownName, UserError
from storage.models import hub
from storage.models.archive import Archive
from storage.models.digests import Hashes
from storage.models.layout import inspect
from storage.models.sources import STORE, HubSource, parse_hub, stored_digest
from storage.sql import jobs, registry
from storage.sql.registry import NAME, NAME_RULE, RegisteredModel

Say = Callable[[int, int], None]  # hears (bytes done, bytes in all)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a user asks to register."""

    name: str
    source: str  # owner/name@revision of the hub, a folder, or a .safetensors file
    kind: str | None = None  # None: whatever it is
    variant: str | None = None
    path: str | None = None  # on the hub: a file or folder of the repository
    encoder: str | None = None  # on the hub, of an IP-Adapter: the folder of its image encoder


def register(farm: Farm, wanted: Wanted, *, say: Say) -> tuple[RegisteredModel, bool]:
    """Freeze a model and give it a name. Safe to repeat.

    Returns:
        The model, and whether the name is new.

    Raises:
        UserError: There is no such model, it is none of that kind, or the name is taken.
        StoreAway: Nothing was registered.
        DatabaseAway: Nothing was registered.
    """
    if NAME.fullmatch(wanted.name) is None:
        raise UserError(f"model name {wanted.name!r}: {NAME_RULE}")
    path = Path(wanted.source).expanduser()
    named = None if path.exists() else parse_hub(wanted.source)
    try:
        new = _from_hub(farm, wanted, named) if named is not None else _from_here(farm, wanted, path, say)
    except (ModelMissing, ModelUnusable) as error:
        raise UserError(str(error)) from None
    with farm.database.write() as connection:
        is_new = registry.add(connection, new)
        return registry.get(connection, wanted.name), is_new


def unregister(farm: Farm, name: str) -> RegisteredModel:
    """Forget a name, and remove from the store what no other name holds.

    Raises:
        UnknownName: There is no such model.
        UserError: A job that is still open renders with it.
    """
    with farm.database.read() as connection:
        model = registry.get(connection, name)
        still_open = jobs.still_open(connection)
    for row in still_open:
        models = farm.specs.load(row.id, spec_hash=row.spec_hash).spec.models.values()
        if any(entry["source"] == model.source for entry in models):
            raise UserError(f"model {name!r} is in use by job {row.name} ({row.id}); wait for it, or cancel it")
    with farm.database.write() as connection:
        registry.remove(connection, name)
        others = [stored_digest(other.source) for other in registry.listing(connection)]
    stored, kept = stored_digest(model.source), [other for other in others if other is not None]
    if stored is not None and stored not in kept:
        with suppress(ModelMissing):  # its listing went before: the name was all that was left
            Archive(farm.store).remove(stored, kept=kept)
    return model


def find(farm: Farm, name: str) -> RegisteredModel:
    """A registered model. Raises UnknownName."""
    with farm.database.read() as connection:
        return registry.get(connection, name)


def _from_hub(farm: Farm, wanted: Wanted, named: HubSource) -> RegisteredModel:
    asked = replace(
        named, variant=wanted.variant or named.variant, path=wanted.path or named.path,
        encoder=wanted.encoder or named.encoder,
    )  # fmt: skip
    remote = hub.look(asked, wanted.kind)
    if asked.variant and remote.outline.variant != asked.variant:
        raise ModelUnusable(str(asked), f"it has no weights of the variant {asked.variant!r}")
    return RegisteredModel(
        name=wanted.name, kind=remote.outline.kind, source=str(remote.source), digest=remote.digest(),
        family=remote.outline.family, bytes=remote.bytes, variant=remote.outline.variant, license=remote.license,
        added_by=farm.settings.user, added_at=time.time(),
    )  # fmt: skip


def _from_here(farm: Farm, wanted: Wanted, path: Path, say: Say) -> RegisteredModel:
    if wanted.path or wanted.encoder:
        raise UnknownName("option", "--path or --encoder", "they are for models of the hub; name the file itself")
    layout = inspect(path.absolute(), wanted.kind, source=wanted.source, variant=wanted.variant)
    hashes = Hashes(farm.settings.home / "model-hashes.json")
    listing = Archive(farm.store).put(layout, hashes=hashes, say=say)
    return RegisteredModel(
        name=wanted.name, kind=layout.kind, source=STORE + listing.digest.removeprefix("sha256:"),
        digest=listing.digest, family=layout.family, bytes=listing.bytes, variant=layout.variant, license=None,
        added_by=farm.settings.user, added_at=time.time(),
    )  # fmt: skip
