"""Models of the Hugging Face hub: looked at from afar, frozen at a commit, fetched file by file.

Only the files that a pipeline loads are fetched, and never a pickle. The hub's own cache keeps them, so that they are
shared with every other program of the host; it also continues what was cut off.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage.errors import ModelMissing, ModelUnusable
from storage.models.anatomy.headers import Header, header_of
from storage.models.anatomy.trees import Tree, check_small
from storage.models.digests import digest_of
from storage.models.layout import Outline, outline
from storage.models.progress import Progress, Say
from storage.models.room import require_room
from storage.models.sources import HubSource

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """A model on the hub, looked at and not fetched."""

    source: HubSource  # frozen at a commit
    outline: Outline
    sizes: Mapping[str, int]  # bytes, by name in the repository
    hashes: Mapping[str, str]  # SHA-256, of the files that the hub tells it of
    license: str | None

    @property
    def bytes(self) -> int:
        """Of all files that will be fetched."""
        return sum(self.sizes[name] for name in self.outline.names.values())

    def digest(self) -> str:
        """The model's digest: large files by the hub's word, small ones are fetched. Raises ModelMissing."""
        return digest_of({name: self._hash(place) for name, place in self.outline.names.items()})

    def _hash(self, name: str) -> str:
        if name in self.hashes:
            return self.hashes[name]
        return hashlib.sha256(_HubPlace(self.source, self.sizes).read(name)).hexdigest()


def look(source: HubSource, kind: str | None) -> Remote:
    """Find out what a model of the hub is made of; a few small files are fetched.

    Raises:
        ModelMissing: The hub has none, gives none to us, or does not answer.
        ModelUnusable: It is no model of that kind.
    """
    from huggingface_hub import HfApi, constants

    with _worded(source):
        api = HfApi(endpoint=constants.ENDPOINT)
        info = api.model_info(source.repository, revision=source.revision, files_metadata=True)
    frozen = source.at(str(info.sha))
    siblings = [each for each in info.siblings or [] if _stays_inside(each.rfilename)]
    sizes = {each.rfilename: each.size or 0 for each in siblings}
    hashes = {each.rfilename: each.lfs.sha256 for each in siblings if each.lfs is not None}
    tree = Tree(str(source), {name: name for name in sizes}, _HubPlace(frozen, sizes))
    found = outline(tree, kind, entry=source.path or "", variant=source.variant, encoder=source.encoder)
    return Remote(source=frozen, outline=found, sizes=sizes, hashes=hashes, license=_license(info))


def _stays_inside(name: str) -> bool:
    """Whether a name that the hub gave is a place in a folder: it tells where a file will be written here."""
    return all(part not in ("", ".", "..") for part in name.split("/")) and not {"\\", "\0"} & set(name)


def fetch(remote: Remote, *, say: Say) -> Path:
    """Bring all files of a model to this host; what is here already stays.

    Returns:
        The folder of the repository at that commit.

    Raises:
        ModelMissing: The hub refuses, or does not answer.
        DiskFull: They would not fit.
    """
    from huggingface_hub import constants

    names = sorted(set(remote.outline.names.values()))
    wanted = [name for name in names if _cached(remote.source, name) is None]
    missing = sum(remote.sizes[name] for name in wanted)
    if missing:
        require_room(Path(constants.HF_HUB_CACHE), missing)
    progress = Progress(missing, say)
    for name in wanted:
        _download(remote.source, name, tell=progress.tell)
    folder = _cached(remote.source, names[0])
    if folder is None:
        raise ModelMissing(str(remote.source), f"{names[0]} left the cache of the hub while it was fetched")
    return folder


def cached_folder(source: HubSource) -> Path | None:
    """Where the hub's cache has something of a model, without asking the hub; it need not be all."""
    names = ["model_index.json", "config.json", "model_index.json"]
    for name in [source.path or "", *(f"{source.path}/{name}" if source.path else name for name in names)]:
        if name and (found := _cached(source, name)) is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class _HubPlace:
    """The files of a repository, read one by one."""

    source: HubSource
    sizes: Mapping[str, int]

    def read(self, name: str) -> bytes:
        """See `Place.read`."""
        check_small(name, self.sizes.get(name, 0), source=str(self.source))
        return (_download(self.source, name) / name).read_bytes()

    def header(self, name: str) -> Header:
        """See `Place.header`. Only the beginning of the file is sent."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import SafetensorsParsingError

        try:
            with _worded(self.source):
                found = HfApi(endpoint=constants.ENDPOINT).parse_safetensors_file_metadata(
                    self.source.repository, name, revision=self.source.revision
                )
            entries = {key: {"shape": list(tensor.shape)} for key, tensor in found.tensors.items()}
            return header_of({**entries, "__metadata__": found.metadata or {}})
        except (SafetensorsParsingError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelUnusable(str(self.source), f"{name} is no safetensors file") from None


def _download(source: HubSource, name: str, *, tell: Any = None) -> Path:
    """Bring one file into the hub's cache, continuing what was cut off; the folder of the repository there."""
    from huggingface_hub import hf_hub_download

    with _worded(source):
        found = hf_hub_download(source.repository, name, revision=source.revision, tqdm_class=_meter(tell))
    return _above(Path(found), name)


def _cached(source: HubSource, name: str) -> Path | None:
    from huggingface_hub import constants, try_to_load_from_cache

    cache = constants.HF_HUB_CACHE
    found = try_to_load_from_cache(source.repository, name, revision=source.revision, cache_dir=cache)
    return _above(Path(found), name) if isinstance(found, str) else None


def _above(file: Path, name: str) -> Path:
    return file.parents[name.count("/")]


def _meter(tell: Any) -> Any:
    """A silent progress bar that tells how many bytes came."""
    from huggingface_hub.utils.tqdm import tqdm

    class Meter(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            if tell is not None and n:
                tell(int(n))
            return None

    return Meter


@contextmanager
def _worded(source: HubSource) -> Iterator[None]:
    """Turn what the hub's library raises into a sentence with the next step."""
    from huggingface_hub import constants, errors

    transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of httpx, or of what follows it
    try:
        yield
    except errors.GatedRepoError:
        raise ModelMissing(str(source), _GATED.format(page=source.page)) from None
    except errors.RepositoryNotFoundError:
        raise ModelMissing(str(source), _UNKNOWN.format(page=source.page)) from None
    except errors.RevisionNotFoundError:
        raise ModelMissing(str(source), f"the hub has no revision {source.revision!r} of it") from None
    except errors.HFValidationError as error:
        raise ModelMissing(str(source), str(error).splitlines()[0]) from None
    except errors.RemoteEntryNotFoundError as error:
        raise ModelMissing(str(source), f"the hub misses a file of it ({_first_line(error)})") from None
    except (OSError, ValueError, transport, errors.OfflineModeIsEnabled) as error:
        raise ModelMissing(str(source), _AWAY.format(reason=_first_line(error), host=constants.ENDPOINT)) from error


_GATED: Final = (
    "its licence must be accepted first: open {page} in a browser, accept it, and set HF_TOKEN on this host to a "
    "token of that account"
)
_UNKNOWN: Final = (
    "the hub has no such model, or it is private; check {page}, or set HF_TOKEN to a token that may read it"
)
_AWAY: Final = (
    "not a folder here, and the hub gave nothing ({reason}); copy it to this host and name its folder, or let the "
    "host reach {host}"
)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _license(info: "ModelInfo") -> str | None:
    card = info.card_data
    said = getattr(card, "license", None) if card is not None else None
    return said if isinstance(said, str) else None
