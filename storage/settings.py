"""Every setting of the farm: one class, read from FARM_* variables when a program starts, never at import.

The defaults are a laptop with nothing set up: all state in one folder, a broker of our own, SQLite, a folder as the
object store. A rack sets the three URLs.
"""

import getpass
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.errors import InvalidSetting, nearest
from storage.rules import rule_of
from storage.wire.broker_safety import problem_of

PREFIX = "FARM_"
INPUT_BYTES = 64 * 2**20  # of one picture file; a photograph of 50 megapixels has 30 to 40 MB
INPUT_PIXELS = 8192 * 8192  # the largest picture that a job may ask for
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?")
_SECRET_NAMES = ("FARM_FLOWER_PASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN")
_SHORTEST_SECRET = 4  # characters; what is shorter would blot out half of a log, and protects nothing
# Up to the last @: a password may hold what it should have escaped, and is no less secret for that.
_BEFORE_HOST = re.compile(r"(://[^:@/?#]*):(.*)@", re.DOTALL)
_IN_QUERY = re.compile(r"([?&](?:ssl)?passw(?:or)?d=)([^&#]*)", re.IGNORECASE)


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())


class Settings(BaseSettings):
    """FARM_HOME, FARM_BROKER_URL and so on; units stand in the names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

    home: Path = Field(default=Path("~/.seedfarm"), description="folder of all embedded state")
    broker_url: SecretStr | None = Field(
        default=None, description="redis://[:password@]host:port/db; silent: a broker of our own"
    )
    insecure_broker: bool = Field(
        default=False,
        description="whether a broker off this machine may go without a password: whoever reaches it rules the farm",
    )
    database_url: SecretStr | None = Field(
        default=None, description="sqlite:///file or postgresql+psycopg://...; silent: FARM_HOME/farm.sqlite"
    )
    store_url: str | None = Field(default=None, description="folder or s3://bucket/prefix; silent: FARM_HOME/store")
    s3_endpoint: str | None = Field(default=None, description="address of an S3 server that is not AWS")
    s3_region: str = Field(default="us-east-1", description="region of the bucket")
    user: str = Field(default_factory=_os_user, description="who submits; the OS user unless set")
    max_images: int = Field(
        default=1_000_000_000,
        ge=1,
        le=10**12,
        description="cap on the places of one job: a typing error should not fill a disk",
    )
    input_hosts: str | None = Field(
        default=None, description="hosts that input images may be fetched from over https, by commas; silent: none"
    )
    input_bytes: int = Field(default=INPUT_BYTES, ge=1, description="cap on the file of one input image")
    input_pixels: int = Field(
        default=INPUT_PIXELS,
        ge=1,
        description="cap on width x height of one input image: a small file may unpack to much",
    )
    chunk_s: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="seconds that one Celery task aims at: long enough to hide the queue, short enough to lose",
    )
    silence_s: float = Field(
        default=20, gt=0, description="seconds without a heartbeat after which a worker's chunks go elsewhere"
    )
    idle_loss_s: float = Field(
        default=10,
        gt=0,
        description="seconds that a worker may report idle beside a waiting chunk before the message counts as lost",
    )
    time_scale: float = Field(
        default=1,
        gt=0,
        le=10,
        description="multiplies every waiting time but FARM_BEAT_S; below 1 only to test how the farm bears faults",
    )
    ageing_s: float = Field(
        default=1800,
        gt=0,
        description="seconds without a device after which a background job counts as a normal one, so none starves",
    )
    tick_s: float = Field(default=1, gt=0, description="seconds between two rounds of the dispatcher")
    beat_s: float = Field(default=1, gt=0, description="seconds between two heartbeats of a worker")
    stop_after_failures: int = Field(
        default=32,
        ge=1,
        description="failed images after which a job stops itself, if hardly any other came of it lately",
    )
    resident_pipelines: int = Field(
        default=2, ge=1, description="pipelines that a worker keeps loaded; the least recently used goes first"
    )
    cpu_threads: int | None = Field(
        default=None, ge=1, description="threads of a CPU worker; silent: its share of the cores"
    )
    upload_threads: int = Field(default=4, ge=1, le=64, description="uploads of one worker at a time")
    spool_bytes: int = Field(
        default=10**10,
        ge=0,
        description="disk that one worker may fill with images while the object store is away; 0: none, it waits",
    )
    renderer: Literal["diffusers", "fake"] = Field(
        default="diffusers", description="fake draws test pictures without torch"
    )
    unregistered_models: bool | None = Field(
        default=None,
        description="whether jobs may name models that nobody registered; silent: where the broker is ours",
    )
    callbacks: str | None = Field(
        default=None, description="callbacks that jobs may run on this worker, by commas; silent: none"
    )
    watermarks: str | None = Field(
        default=None, description="watermarks that jobs may put into images on this worker, by commas; silent: none"
    )
    flower_port: int = Field(default=5555, ge=0, le=65535, description="port of Flower on this host")
    flower_password: SecretStr | None = Field(
        default=None, description="password of user farm in Flower; silent: made up and printed"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="of the programs that keep logs"
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError:
            raise ValueError("names the home folder of a user who is not there") from None

    @field_validator("input_hosts")
    @classmethod
    def _names(cls, hosts: str | None) -> str | None:
        for host in _listed(hosts):
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is no host; must be names such as pictures.example.org, or name:port")
        return hosts

    @cached_property
    def allowed_hosts(self) -> frozenset[str]:
        """Hosts that input images may be fetched from, in lower case."""
        return frozenset(_listed(self.input_hosts))

    @cached_property
    def takes_unregistered(self) -> bool:
        """Whether jobs may name folders, files and hub ids. One machine takes any; on a farm they are registered."""
        return self.broker_url is None if self.unregistered_models is None else self.unregistered_models

    @cached_property
    def callback_names(self) -> tuple[str, ...]:
        """The callbacks that jobs may run here."""
        return tuple(name.strip() for name in (self.callbacks or "").split(",") if name.strip())

    @cached_property
    def watermark_names(self) -> tuple[str, ...]:
        """The watermarks that jobs may use here."""
        return tuple(name.strip() for name in (self.watermarks or "").split(",") if name.strip())

    @cached_property
    def database_address(self) -> str:
        """The SQLAlchemy URL, secrets included."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'farm.sqlite'}"

    @cached_property
    def store_address(self) -> str:
        """Where objects lie: a folder or s3://bucket/prefix."""
        return self.store_url or str(self.home / "store")


def _listed(hosts: str | None) -> list[str]:
    return [host.strip().lower() for host in (hosts or "").split(",") if host.strip()]


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        InvalidSetting: An unknown FARM_* name, a value that breaks a rule, or a broker that is open to others.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            raise InvalidSetting(name, None, f"unknown; {nearest(name, known)}")
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise InvalidSetting(name, os.environ.get(name, ""), rule_of(first)) from None
    if settings.broker_url is not None:
        problem = problem_of(settings.broker_url.get_secret_value(), insecure=settings.insecure_broker)
        if problem is not None:
            raise InvalidSetting("FARM_BROKER_URL", None, problem)
    return settings


def secrets_here() -> frozenset[str]:
    """What this process knows and nobody may read in a log: passwords and keys of its environment."""
    urls = [os.environ.get(PREFIX + name, "") for name in ("BROKER_URL", "DATABASE_URL", "STORE_URL", "S3_ENDPOINT")]
    found = [os.environ.get(name, "") for name in _SECRET_NAMES] + [word for url in urls for word in _passwords(url)]
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return _IN_QUERY.sub(r"\1***", _BEFORE_HOST.sub(r"\1:***@", url))


def _passwords(url: str) -> list[str]:
    """The passwords in a URL, each as it is written there and as it is meant."""
    written = [found[2] for shape in (_BEFORE_HOST, _IN_QUERY) for found in shape.finditer(url)]
    return [form for text in written for form in (text, unquote(text))]
