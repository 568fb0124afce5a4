"""A data set repository of the Hugging Face hub: made, looked at, written to.

The token is the hub library's own business (HF_TOKEN, or what 'hf auth login' keeps); it is never an argument here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.export.publishing.parcel import Entry
from storage.errors import TransientError, UserError

if TYPE_CHECKING:
    pass

MAIN: Final = "main"


class HubRefuses(UserError):
    """The hub does not do it, and will not if asked again. Args: repository, reason."""

    text = "{0}: {1}"


class HubAway(TransientError):
    """The hub does not answer, or broke off. Args: its address, reason."""

    text = "hub {0}: {1}; give the same command again, what arrived stays"


class Repository:
    """One repository and one branch of it."""

    def __init__(self, name: str, *, revision: str = MAIN) -> None:
        """Nothing is sent. Raises HubRefuses for a name that can be none, or without a token."""
        from huggingface_hub import HfApi, constants, get_token
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id
        from huggingface_hub.utils.tqdm import disable_progress_bars

        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise HubRefuses(f"--repo {name}", str(error).splitlines()[0].rstrip(".")) from None
        if name.count("/") != 1:
            raise HubRefuses(f"--repo {name}", "must be owner/name")
        self.name = name
        self.revision = revision
        self.address = constants.ENDPOINT
        self.page = f"{constants.ENDPOINT}/datasets/{name}"
        self._has_token = get_token() is not None
        self._api: HfApi = HfApi(endpoint=constants.ENDPOINT, token=True)
        disable_progress_bars()

    @property
    def has_token(self) -> bool:
        """Whether this machine has a token at all."""
        return self._has_token

    def prepare(self, *, public: bool) -> bool:
        """Make repository and branch unless they are there.

        Args:
            public: Whether everybody may read it. A repository that is there already keeps what it is.

        Returns:
            Whether everybody may read it.

        Raises:
            HubRefuses: No token, one that may not write there, or a repository that is public without being asked to.
            HubAway: Repeat it.
        """
        if not self._has_token:
            raise HubRefuses(self.name, _ANONYMOUS)
        with self._worded():
            self._api.create_repo(self.name, repo_type="dataset", private=not public, exist_ok=True)
            info = self._api.dataset_info(self.name)
            if not info.private and not public:
                raise HubRefuses(self.name, _PUBLIC.format(page=self.page))
            if self.revision != MAIN:
                self._api.create_branch(self.name, branch=self.revision, repo_type="dataset", exist_ok=True)
        return not info.private

    def check_card(self, text: str) -> None:
        """Let the hub check the front matter before gigabytes are sent. Raises HubRefuses, HubAway."""
        from huggingface_hub import RepoCard

        with self._worded():
            RepoCard(text).validate(repo_type="dataset")

    def files(self) -> dict[str, tuple[str, bool]]:
        """Name to hash of every file there, and whether the hash is SHA-256 (of a large file) or git's."""
        from huggingface_hub.hf_api import RepoFile

        with self._worded():
            tree = self._api.list_repo_tree(
                self.name, recursive=True, revision=self.revision, repo_type="dataset", expand=False
            )
            files = [entry for entry in tree if isinstance(entry, RepoFile)]
        return {
            file.path: (file.blob_id, False) if file.lfs is None else (file.lfs.sha256, True) for file in files
        }  # fmt: skip

    def commit(self, root: Path, entries: Sequence[Entry], *, message: str) -> str:
        """Send files and commit them. Safe to repeat: what the hub has is not sent again. Returns the commit."""
        from huggingface_hub import CommitOperationAdd

        operations = []
        for entry in entries:
            operation = CommitOperationAdd(path_in_repo=entry.name, path_or_fileobj=root / entry.name)
            operation.upload_info.sha256 = bytes.fromhex(entry.sha256)  # just checked: no need to read it once more
            operations.append(operation)
        with self._worded():
            done = self._api.create_commit(
                self.name, operations, commit_message=message, repo_type="dataset", revision=self.revision
            )
        return done.oid

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Turn what the hub's library raises into one sentence with the next step."""
        from huggingface_hub import errors

        transport: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of httpx, or of what follows it
        try:
            yield
        except errors.OfflineModeIsEnabled:
            raise HubRefuses(self.name, "HF_HUB_OFFLINE is set on this host; unset it to publish") from None
        except (errors.HfHubHTTPError, transport, OSError, RuntimeError) as error:
            raise self._sorted(error) from None
        except ValueError as error:
            raise HubRefuses(self.name, f"refused ({_first_line(error)})") from None

    def _sorted(self, error: Exception) -> Exception:
        """By what the hub answered; what has no answer is a broken line."""
        cause: BaseException | None = error
        while cause is not None and getattr(cause, "response", None) is None:
            cause = cause.__cause__
        if cause is None:
            return HubAway(self.address, f"broke off ({_first_line(error)})")
        status = int(cause.response.status_code)  # type: ignore[attr-defined]
        said = str(getattr(cause, "server_message", None) or "").strip().split("\n")[0][:200]
        if status in _REFUSALS:
            return HubRefuses(self.name, _REFUSALS[status].format(said=f": {said}" if said else "", page=self.page))
        if status in (409, 412):
            return HubAway(self.address, f"somebody else is changing {self.name} ({status})")
        if 400 <= status < 500 and status not in (408, 429):
            return HubRefuses(self.name, f"the hub refuses it ({status}{', ' + said if said else ''})")
        return HubAway(self.address, f"cannot do it now ({status})")


def git_hashes(root: Path, names: Mapping[str, tuple[str, bool]], entries: Sequence[Entry]) -> dict[str, str]:
    """Git's hash of those of our files that the hub keeps as small ones."""
    from huggingface_hub.utils.sha import git_hash

    small = [entry.name for entry in entries if entry.name in names and not names[entry.name][1]]
    return {name: git_hash((root / name).read_bytes()) for name in small}


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


_ANONYMOUS: Final = (
    "no token on this machine; set HF_TOKEN to one that may write (https://huggingface.co/settings/tokens), or run "
    "'hf auth login'"
)
_PUBLIC: Final = "it is there already and public; add --public to agree, or make it private at {page}/settings"
_REFUSALS: Final = {
    401: "the hub does not know this token (401); set HF_TOKEN to a valid one, or run 'hf auth login'",
    403: "this token may not write there (403{said}); use one with the right to write, of a member of the owner",
    404: "the hub finds no such owner, repository or branch (404{said}), or hides it from this token; check {page}",
    413: "the hub finds it too large (413{said})",
}
