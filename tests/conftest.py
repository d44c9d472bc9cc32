"""Every test runs apart from the machine: as root, pytest itself moves into a network and mount namespace of its own
before anything starts a thread, so a kernel test may make links, rules and mounts freely and runs beside anything.
"""

import ctypes
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_architecture import MAY_USE, ROOT, is_pure

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 16384, 1 << 18


# servers of Debian's that `make setup` unpacked where they are not installed
os.environ["PATH"] += f":{ROOT}/.cache/unpacked/usr/bin"
# some tests import grpc by themselves: as store/etcd/client/drivers has it
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background command; programs inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() == 0:
        _leave_the_machine()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _mirrors_a_pure_module(item.path) and not item.get_closest_marker("root"):
            item.add_marker(pytest.mark.pure)
    if os.geteuid() != 0:
        skip = pytest.mark.skip(reason="makes namespaces, links and mounts: needs root")
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(skip)


def _mirrors_a_pure_module(test: Path) -> bool:
    """Whether a file tests one module of a package that decides and touches nothing (tests/test_architecture.py)."""
    package, name = test.parent.name, test.stem.removeprefix("test_")
    return (ROOT / package / f"{name}.py").exists() and package in MAY_USE and is_pure(f"{package}.{name}")


def _leave_the_machine() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "cannot make the tests' own namespaces")
    from hawser.netd.drivers import netns

    netns.lo_up()


@pytest.fixture
def instance() -> str:
    """The mark of one node."""
    return uuid.uuid4().hex[:8]


@pytest.fixture
def rundir() -> Iterator[Path]:
    """A short directory (a unix socket's path has 107 bytes), removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="hw-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
