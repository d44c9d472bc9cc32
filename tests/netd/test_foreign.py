"""Another program's chain that drops what we forward: seen, as it is, and really in the way."""

from pathlib import Path

import pytest

from hawser.netd.agent import NetAgent
from hawser.netd.drivers.foreign import foreign_drops
from hawser.netd.drivers.nft import Nft

from .machines import OUTSIDE4, outside, ping, silent

pytestmark = pytest.mark.root
DOCKERS = """
table ip filter {
  chain DOCKER-USER { }
  chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }
  chain INPUT { type filter hook input priority filter; policy drop; iifname "lo" accept; ct state established accept; }
}
table ip6 filter { chain FORWARD { type filter hook forward priority filter; policy accept; }; }
table inet other { chain sorted { type filter hook forward priority 10; policy drop; accept; }; }
"""


def nft(commands: str) -> None:
    context = Nft()
    context.run(commands)
    context.close()


async def test_a_forward_chain_that_drops_is_seen(net: NetAgent, rundir: Path) -> None:
    await net.create_network({"tenant": "t", "name": "n"})
    path = await net.make_sandbox("a")
    await net.attach("a", tenant="t", network="n")
    assert foreign_drops() == []
    with outside(rundir):
        assert ping(path, OUTSIDE4)
        nft(DOCKERS)
        try:
            assert foreign_drops() == ["inet other sorted", "ip filter FORWARD"]
            assert silent(path, OUTSIDE4), "it is in the way"
            nft('insert rule ip filter DOCKER-USER iifname "hwu*" accept')
            nft('insert rule ip filter DOCKER-USER oifname "hwu*" accept')
            assert ping(path, OUTSIDE4), "what the docstring says helps"
        finally:
            nft("delete table ip filter\ndelete table ip6 filter\ndelete table inet other")
    assert foreign_drops() == []
