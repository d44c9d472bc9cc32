"""rtnetlink batches: long ones, refused ones, and what the errors say."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.conntrack import Conntrack
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.nft import Nft
from hawser.netd.errors import Exists, NetError, NotFound
from hawser.netd.model import interface

pytestmark = pytest.mark.root


@pytest.fixture
def apart(rundir: Path) -> Iterator[Path]:
    """A namespace to fill with links; it takes them away with it."""
    path = rundir / "apart"
    netns.create(path)
    yield path
    netns.remove(path)


def test_a_batch_far_longer_than_the_receive_buffer_is_answered(apart: Path) -> None:
    def fill() -> tuple[int, int]:
        with Netlink() as there:
            there.do([netlink.new_bridge("br0")])
            index = socket.if_nametoindex("br0")
            subnet = ip_network("10.0.0.0/16")
            addresses = [interface(subnet.network_address + n, subnet) for n in range(1, 3001)]
            there.do(netlink.add_address(index, address) for address in addresses)
            found = [one for one in there.addresses() if one.index == index and one.address.version == 4]
            return len(found), len(there.links())

    assert netns.inside(apart, fill) == (3000, 2)


def test_the_first_refusal_is_raised_and_the_rest_is_done(apart: Path) -> None:
    def act() -> set[str]:
        with Netlink() as there:
            there.do([netlink.new_bridge("one")])
            with pytest.raises(Exists, match=r"create bridge one: File exists \(EEXIST\)"):
                there.do([netlink.new_bridge("one"), netlink.new_bridge("two"), netlink.delete_link("none")])
            return {link.name for link in there.links()}

    assert netns.inside(apart, act) == {"lo", "one", "two"}


def test_errors_say_what_was_wanted_and_what_the_kernel_says(apart: Path) -> None:
    def act() -> None:
        with Netlink() as there:
            with pytest.raises(NotFound, match=r"delete link none: No such device \(ENODEV\)"):
                there.do([netlink.delete_link("none")])
            there.do([netlink.delete_link("none")], missing_ok=True)
            there.do([netlink.new_bridge("br0")])
            with pytest.raises(NetError, match=r"add default route via 10\.0\.0\.1: .*: Nexthop has invalid gateway"):
                there.do([netlink.add_default(socket.if_nametoindex("br0"), ip_address("10.0.0.1"))])
            assert there.link("none") is None
            there.do([])

    netns.inside(apart, act)


def test_what_follows_a_refused_creation_hits_nothing_else(apart: Path) -> None:
    def act() -> str:
        with Netlink() as there:
            there.do([netlink.new_bridge("foreign")])
            index = netlink.index_of("foreign")
            with pytest.raises(Exists):
                there.do([netlink.new_bridge("foreign", index=index), netlink.mark_link(index, "ours")])
            link = there.link("foreign")
            assert link is not None
            return link.alias

    assert netns.inside(apart, act) == ""


def test_a_link_is_read_back_as_it_was_made(apart: Path) -> None:
    def act() -> None:
        with Netlink() as there:
            index = netlink.index_of("br0")
            there.do([netlink.new_bridge("br0", mtu=1399, mac="02:00:00:00:00:01", index=index)])
            there.do([netlink.mark_link(index, "words of the owner", mtu=1400)])
            there.do([netlink.new_veth("v0", "v1", mtu=1300, master=index)])
            bridge, first, second = (there.link(name) for name in ("br0", "v0", "v1"))
            assert bridge
            assert first
            assert second
            assert (bridge.index, bridge.mtu, bridge.mac) == (index, 1400, "02:00:00:00:00:01")
            assert (bridge.alias, bridge.kind, bridge.up) == ("words of the owner", "bridge", True)
            assert (first.master, first.iflink, second.iflink) == (index, second.index, first.index)
            assert (first.up, second.up) == (True, False)

    netns.inside(apart, act)


def test_a_namespace_lives_at_its_path_and_nowhere_else(rundir: Path) -> None:
    path = rundir / "one"
    assert not netns.alive(path)
    netns.create(path)
    assert netns.alive(path)
    with pytest.raises(Exists):
        netns.create(path)
    names = netns.inside(path, socket.if_nameindex)
    assert [name for _, name in names] == ["lo"]
    netns.remove(path)
    netns.remove(path)
    assert not path.exists()


def test_a_failed_set_up_leaves_no_namespace_and_the_worker_comes_home(rundir: Path) -> None:
    def fail() -> None:
        raise NetError("no")

    with pytest.raises(NetError, match="no"):
        netns.create(rundir / "one", fail)
    assert not (rundir / "one").exists()
    netns.create(rundir / "two")
    with pytest.raises(NetError, match="no"):
        netns.inside(rundir / "two", fail)
    netns.remove(rundir / "two")
    with pytest.raises(NetError, match="No such file"):
        netns.inside(rundir / "two", lambda: None)


def test_nft_says_in_one_line_what_it_refused() -> None:
    context = Nft()
    with pytest.raises(NotFound, match="No such file or directory"):
        context.run("list table inet nothing")
    with pytest.raises(NetError) as caught:
        context.run("nonsense\nmore nonsense")
    assert "\n" not in str(caught.value)
    assert context.table("nothing") is None
    context.close()


def test_forgetting_a_port_without_connections_is_nothing() -> None:
    table = Conntrack()
    assert table.forget_udp(5000) == 0
    table.close()
