"""The errors of the farm, sorted by who must act.

    FarmError
    ├── UserError           fix the input; never retried; exit code 2
    │   ├── InvalidSpec     a job file breaks a rule
    │   ├── InvalidSetting  a FARM_* variable breaks a rule
    │   ├── UnknownName     a name that nothing carries, with the nearest one
    │   └── UnreadableFile  a file that is missing, unreadable or not what it should be
    ├── TransientError      may heal; retried with backoff; exit code 1
    │   ├── BrokerAway
    │   ├── DatabaseAway
    │   └── StoreAway
    └── PermanentError      recorded, never retried; exit code 1
        ├── BlobMissing     the store answered, and has no such object
        ├── DiskFull
        ├── PortTaken
        ├── PartFailed      a program that the farm started did not come up
        ├── ModelMissing    a worker cannot find a model
        ├── ModelUnusable   a worker found a model and cannot render with it
        ├── OptionRefused   a model cannot do what a job asks of it
        │   └── RefusedHere one worker cannot, for a reason of its own
        ├── ManifestRefused a manifest that breaks the contract
        └── SchemaMismatch  a database of another version

An error keeps raw values in `args` and words itself in `__str__`; it has no `__init__` of its own, so that it
can be pickled and rebuilt in another process.
"""

import difflib
import reprlib
from collections.abc import Iterable


class FarmError(Exception):
    """Root of the tree. Never raised itself."""

    text = "{0}"

    def __str__(self) -> str:
        return self.text.format(*self.args)


class UserError(FarmError):
    """The input must change. Args: a sentence."""


class TransientError(FarmError):
    """A part is away and may come back. Args: a sentence."""


class PermanentError(FarmError):
    """Trying again cannot help. Args: a sentence."""


class InvalidSpec(UserError):
    """A job file breaks a rule. Args: key path, value, rule."""

    def __str__(self) -> str:
        path, value, rule = self.args
        shown = path if path.isprintable() else repr(path)[1:-1]
        return f"{shown}: {rule}" if value is None else f"{shown} = {shorten(value)}: {rule}"


class InvalidSetting(UserError):
    """A FARM_* variable breaks a rule. Args: variable, value (None: not to be shown), rule."""

    def __str__(self) -> str:
        name, value, rule = self.args
        return f"{name}: {rule}" if value is None else f"{name} = {value!r}: {rule}"


class UnknownName(UserError):
    """Nothing carries that name. Args: what kind of thing, the name, a hint (may be empty)."""

    def __str__(self) -> str:
        kind, name, hint = self.args
        return f"{kind} {name!r}: unknown{'; ' + hint if hint else ''}"


class UnreadableFile(UserError):
    """A file cannot be used. Args: path, reason."""

    text = "{0}: {1}"


class BrokerAway(TransientError):
    """Redis does not answer. Args: address without password, reason."""

    text = "broker {0} does not answer ({1}); start it, or set FARM_BROKER_URL"


class DatabaseAway(TransientError):
    """SQL does not answer. Args: address without password, reason."""

    text = "database {0} does not answer ({1}); start it, or set FARM_DATABASE_URL"


class StoreAway(TransientError):
    """The object store does not answer, or refuses. Args: address, reason."""

    text = "object store {0} does not answer ({1}); start it, or set FARM_STORE_URL"


class BlobMissing(PermanentError):
    """The store has no such object. Args: key, store address."""

    text = "no object {0!r} in {1}"


class DiskFull(PermanentError):
    """No room to write. Args: path."""

    text = "no space left to write {0}; free some, or point FARM_HOME or FARM_STORE_URL elsewhere"


class PortTaken(PermanentError):
    """Another program listens there. Args: address, the setting or option that changes it."""

    text = "{0} is taken by another program; stop it or change {1}"


class PartFailed(PermanentError):
    """A program that the farm started did not come up. Args: part, reason, log file."""

    text = "{0} did not start: {1} (log: {2})"


class ModelMissing(PermanentError):
    """A worker cannot find a model. Args: model, reason."""

    text = "model {0!r} not found: {1}"


class ModelUnusable(PermanentError):
    """A worker found a model and cannot render with it. Args: model, reason."""

    text = "model {0!r} cannot be used: {1}"


class OptionRefused(PermanentError):
    """A model cannot do what a job asks of it. Args: key of the job file, value (None: not to be shown), reason."""

    def __str__(self) -> str:
        key, value, reason = self.args
        return f"{key}: {reason}" if value is None else f"{key} = {shorten(value)}: {reason}"


class RefusedHere(OptionRefused):
    """The same for a reason that is this worker's and not the model's: another worker may be able to."""


class ManifestRefused(PermanentError):
    """A manifest breaks the contract. Args: key, reason."""

    text = "manifest {0} refused: {1}"


class SchemaMismatch(PermanentError):
    """A database of another version. Args: address, found, wanted."""

    text = "database {0} has schema {1}, this farm needs {2}; upgrade the farm, or set FARM_DATABASE_URL"


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxtuple, _BRIEF.maxdict = 3, 8, 8, 8  # YAML aliases make tiny files huge
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 200


def shorten(value: object, *, limit: int = 60) -> str:
    """Show a value in a message: its repr on one line, at most `limit` characters; cheap whatever the value."""
    try:
        text = _BRIEF.repr(value)
    except ValueError:  # Python does not spell out numbers of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str:
    """Word a hint: the known name closest to `name`, or the first few of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names[:12])}{', …' if len(names) > 12 else ''}" if names else ""
