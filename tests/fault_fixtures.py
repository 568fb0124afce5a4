"""Farms under fault as fixtures.

shelf, rack    functions that make a farm of a test's own: on SQLite and a folder, on PostgreSQL and S3
shelf_farm, rack_farm    one such farm of two workers for all tests of a module, mended before each
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.farm import Farm
from faults.parts import Servers
from servers.postgres import PostgresServer
from servers.s3 import S3Server
from servers.valkey import ValkeyServer

MakeFarm = Callable[..., Farm]
PACE = {"seconds_per_step": 0.1}


@pytest.fixture(scope="module")
def shelf_servers(valkey: ValkeyServer) -> Servers:
    return Servers(valkey=valkey)


@pytest.fixture(scope="module")
def rack_servers(valkey: ValkeyServer, postgres: PostgresServer, ministack: S3Server) -> Iterator[Servers]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ministack.environment.items():
            patch.setenv(name, value)
        yield Servers(valkey=valkey, postgres=postgres, s3=ministack)


@pytest.fixture
def shelf(shelf_servers: Servers, tmp_path: Path) -> Iterator[MakeFarm]:
    with _maker(shelf_servers, tmp_path) as make:
        yield make


@pytest.fixture
def rack(rack_servers: Servers, tmp_path: Path) -> Iterator[MakeFarm]:
    with _maker(rack_servers, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def _shelf_of_module(shelf_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with _maker(shelf_servers, tmp_path_factory.mktemp("shelf")) as make:
        yield make(model=PACE)


@pytest.fixture(scope="module")
def _rack_of_module(rack_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with _maker(rack_servers, tmp_path_factory.mktemp("rack")) as make:
        yield make(model=PACE)


@pytest.fixture
def shelf_farm(_shelf_of_module: Farm) -> Farm:
    _shelf_of_module.mend()
    return _shelf_of_module


@pytest.fixture
def rack_farm(_rack_of_module: Farm) -> Farm:
    _rack_of_module.mend()
    return _rack_of_module


@contextmanager
def _maker(servers: Servers, folder: Path) -> Iterator[MakeFarm]:
    farms: list[Farm] = []

    def make(*, dispatchers: int = 1, workers: int = 2, **options: object) -> Farm:
        if not servers.valkey.running:  # an earlier test killed it
            servers.valkey.start()
        options = {"FARM_CHUNK_S": "1", "model": PACE, **options}
        farms.append(Farm(folder / f"farm{len(farms)}", servers, **options))  # type: ignore[arg-type]
        for number in range(1, dispatchers + 1):
            farms[-1].dispatcher(f"d{number}")
        for number in range(1, workers + 1):
            farms[-1].worker(f"w{number}")
        return farms[-1]

    try:
        yield make
    finally:
        for farm in farms:
            farm.close()
