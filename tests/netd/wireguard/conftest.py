"""Two machines on one underlay, with each kind of WireGuard that is here."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.netd.wireguard.drivers import probe
from hawser.netd.wireguard.drivers.probe import Flavour
from hawser.netd.wireguard.drivers.userspace import SOCKETS
from tests.netd.wireguard.machines import Cluster, Machine

MNT_DETACH = 2


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory of sockets of the test's own, over the machine's."""
    libc = ctypes.CDLL(None, use_errno=True)
    SOCKETS.mkdir(parents=True, exist_ok=True)
    where = str(SOCKETS.resolve()).encode()
    assert libc.mount(b"none", where, b"tmpfs", 0, None) == 0
    yield SOCKETS
    left = [*SOCKETS.iterdir()]
    assert libc.umount2(where, MNT_DETACH) == 0
    assert left == []


@pytest.fixture(params=[*Flavour])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    wanted: Flavour = request.param
    if wanted is Flavour.KERNEL and not probe.in_kernel():
        pytest.skip("this kernel has no WireGuard; make test-vm has one that does")
    return wanted


@pytest.fixture
def pair(rundir: Path, sockets: Path, flavour: Flavour) -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a cable between them and nothing more."""
    first, second = Machine("a", rundir, flavour), Machine("b", rundir, flavour)
    first.cable(second)
    yield first, second
    first.close()
    second.close()


@pytest.fixture
def cluster(pair: tuple[Machine, Machine]) -> Cluster:
    """The two, with a session in both slots."""
    found = Cluster(*pair)
    found.settle()
    return found
