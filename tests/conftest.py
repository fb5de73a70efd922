"""What all tests share: nobody talks to another machine, and what stores something runs on both engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.engines import Engine, PostgresEngine, PostgresServer, SQLiteEngine, engines_for, running_server


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only loopback and Unix sockets can be connected to (pytest-socket, as if by its command-line options)."""
    settings.register_profile("shared-machine", deadline=None)  # how long a case takes says nothing there
    settings.load_profile("shared-machine")
    config.option.disable_socket = True
    config.option.allow_hosts = "127.0.0.1,::1"
    config.option.allow_unix_socket = True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Has each test of a store run on the engines it is for."""
    for fixture in ("engine", "module_engine"):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, engines_for(metafunc), indirect=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests that need it."""
    with running_server() as server:
        yield server


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a PostgreSQL database without any table."""
    name = postgres_server.create()
    yield postgres_server.address(name)
    postgres_server.drop(name)


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Where the databases of this test are."""
    yield from _engine(request, tmp_path)


@pytest.fixture(scope="module")
def module_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Where databases that several tests share are."""
    yield from _engine(request, tmp_path_factory.mktemp("databases"))


def _engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        yield SQLiteEngine(folder)
        return
    made = PostgresEngine(request.getfixturevalue("postgres_server"))
    yield made
    made.close()
