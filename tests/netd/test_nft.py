"""libnftables in this process: asked by several threads at once, each for its own namespace, it keeps its head."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hawser.netd import rules, tenant_rules
from hawser.netd.drivers import netns
from hawser.netd.drivers.nft import Nft
from hawser.netd.fabric import Fabric

pytestmark = pytest.mark.root
TURNS = 1000
CHAINS = tenant_rules.chains(Fabric(), "t")
ELEMENT = ("frame_ip4", "p0 . 10.0.0.1", None)


def read(path: Path) -> int:
    """How often tables with sets of several types each were read."""
    nft, right = netns.inside_here(path, Nft), 0
    nft.run(rules.create("x", CHAINS, [ELEMENT]))
    for _ in range(TURNS):
        right += all(nft.table("hawser_x", family) for family in ("inet", "bridge"))
    nft.close()
    return right


def test_threads_do_not_meet_in_the_library(rundir: Path) -> None:
    """It takes sets' types apart with strtok(3), whose state is the process's: two at a time ended in an abort."""
    paths = [rundir / f"{number}.ns" for number in range(3)]
    for path in paths:
        netns.create(path)
    try:
        with ThreadPoolExecutor(len(paths)) as threads:
            assert list(threads.map(read, paths)) == [TURNS] * len(paths)
    finally:
        for path in paths:
            netns.remove(path)
