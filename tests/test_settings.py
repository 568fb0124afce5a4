"""Settings: read when asked, unknown names refused, and no secret in a message."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import InvalidSetting
from storage.settings import Settings, load_settings, without_password


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FARM_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param(
            "FARM_BROKERURL", "redis://:secret@h", "FARM_BROKERURL: unknown; did you mean 'FARM_BROKER_URL'?", id="name"
        ),
        pytest.param("FARM_CHUNK_S", "soon", "FARM_CHUNK_S = 'soon': must be a number", id="no number"),
        pytest.param("FARM_CHUNK_S", "0", "FARM_CHUNK_S = '0': must be above 0", id="zero"),
        pytest.param("FARM_TICK_S", "inf", "FARM_TICK_S = 'inf': must be a finite number", id="infinity"),
        pytest.param("FARM_SILENCE_S", "nan", "FARM_SILENCE_S = 'nan'", id="nan"),
        pytest.param("FARM_RENDERER", "magic", "FARM_RENDERER = 'magic': must be 'diffusers' or 'fake'", id="choice"),
        pytest.param("FARM_HOME", "~nobody-here/x", "FARM_HOME = '~nobody-here/x': names the home folder", id="home"),
        pytest.param("FARM_FLOWER_PORT", "70000", "FARM_FLOWER_PORT = '70000'", id="port"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSetting) as caught:
        load_settings()

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_empty_setting_is_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_CHUNK_S", "")

    assert load_settings().chunk_s == Settings().chunk_s


def test_the_embedded_addresses_lie_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FARM_HOME", str(tmp_path))

    settings = load_settings()

    assert settings.database_address == f"sqlite:///{tmp_path}/farm.sqlite"
    assert settings.store_address == f"{tmp_path}/store"


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)

    assert load_settings().user == str(os.getuid())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("postgresql+psycopg://u:secret@h/db", "postgresql+psycopg://u:***@h/db"),
        ("sqlite:////a/b", "sqlite:////a/b"),
        ("redis://h", "redis://h"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_nothing_is_read_at_import() -> None:
    script = "import storage.settings, storage.wire.celery_app, storage.sql, dispatcher.service.process"
    environment = {**os.environ, "FARM_CHUNK_S": "soon", "FARM_NONSENSE": "1"}

    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
