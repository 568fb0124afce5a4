"""What all tests share: the real servers, each started by the first test that asks for it."""

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["servers.fixtures", "databases", "fault_fixtures"]

# A slow machine is no failed property; pytest-timeout holds the limit.
settings.register_profile("farm", deadline=None)
settings.load_profile("farm")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under `./farm test --strict` a skipped test is a failed one, with its name and reason."""
    report = yield
    if os.environ.get("SEEDFARM_STRICT") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped under --strict: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives a tiny model by its name in `tiny.BUILDERS`, built by the first who asks; nobody may change its files."""
    root = tmp_path_factory.mktemp("tiny-models")
    built: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in built:
            from tiny import BUILDERS

            built[name] = BUILDERS[name](root / name)
        return built[name]

    return get
