"""One server of each kind for all tests here; each test finds it empty."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import Server


@pytest.fixture(scope="session", params=["hawser", "etcd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`hawser kv serve`, then the real etcd."""
    yield from _served(request.param, tmp_path_factory.mktemp("kv"))


@pytest.fixture
def store(server: Server) -> Server:
    """The server, emptied before the test."""
    for lease in server.ok("lease", "ls").lines[1:]:
        server.ok("lease", "revoke", lease.split()[0])
    server.ok("del", "--prefix", "")
    return server


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Server]:
    """`hawser kv serve` of the test's own."""
    yield from _served("hawser", tmp_path)


def _served(kind: str, directory: Path) -> Iterator[Server]:
    server = Server(kind, directory)
    with server.started():
        yield server
