"""What hands and crashes do to the kernel, found by `plan` and repaired by `reconcile`; what is foreign stays."""

import socket
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from hawser.netd import rules
from hawser.netd.agent import NetAgent
from hawser.netd.drivers import netlink, netns
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.drivers.nft import Nft
from hawser.netd.drivers.world import World
from hawser.netd.errors import Conflict, Exists, NetError
from hawser.netd.model import derived
from hawser.netd.parse import parse_publish
from hawser.netd.site import bridge_name, uplink_name
from hawser.store import Store
from hawser.store.reconcile import Step

from .machines import ask, ping, serving

pytestmark = pytest.mark.root


def do(*requests: netlink.Request) -> None:
    with Netlink() as here:
        here.do(requests, missing_ok=True)


def tenant(net: NetAgent) -> Path:
    """The namespace of the tenant `t`."""
    path = net.tenant_path("t")
    assert path is not None
    return path


def links() -> set[str]:
    with Netlink() as here:
        return {link.name for link in here.links()}


def nft(commands: str) -> None:
    context = Nft()
    context.run(commands)
    context.close()


async def build(net: NetAgent) -> dict[str, str]:
    """A network with two sandboxes; `a` publishes 8080."""
    await net.create_network({"tenant": "t", "name": "n"})
    paths = {name: await net.make_sandbox(name) for name in ("a", "b")}
    await net.attach("a", tenant="t", network="n", publish=[parse_publish("8080:80")])
    await net.attach("b", tenant="t", network="n")
    assert await net.plan() == ()
    return paths


def works(net: NetAgent, paths: dict[str, str]) -> bool:
    host = net.attachments("a")[0].addresses[0].ip
    with serving(paths["a"], 80):
        return bool(ping(paths["b"], host) and ask(paths["b"], host, 80) and ask(None, "127.0.0.1", 8080))


def _inside(path: str, act: Callable[[Netlink, int], None]) -> None:
    def run() -> None:
        with Netlink() as there:
            act(there, socket.if_nametoindex("eth0"))

    netns.inside(Path(path), run)


async def test_drift_made_by_hand_is_found_and_repaired(net: NetAgent, instance: str) -> None:
    paths = await build(net)
    bridge, port = bridge_name(instance, "t/n"), derived("hwp", instance, "a:eth0")

    def there(*requests: netlink.Request) -> None:
        netns.inside(tenant(net), lambda: do(*requests))

    address = net.attachments("a")[0].addresses[0]
    gateway = ip_interface(f"{net.attachments('a')[0].gateways[0]}/24")
    table = f"inet {rules.table(instance)}"
    drifts: dict[str, tuple[Callable[[], Any], set[str]]] = {
        "a port deleted": (lambda: there(netlink.delete_link(port)), {"port:a:eth0"}),
        "a port taken from its bridge": (lambda: there(netlink.set_link(port, master=0)), {"port:a:eth0"}),
        "a port's MTU": (lambda: there(netlink.set_link(port, mtu=1300)), {"port:a:eth0"}),
        "an address taken from a container": (
            lambda: _inside(paths["a"], lambda t, i: t.do([netlink.delete_address(i, address)])),
            {"port:a:eth0"},
        ),
        "an address added to a container": (
            lambda: _inside(paths["a"], lambda t, i: t.do([netlink.add_address(i, ip_interface("10.9.9.9/24"))])),
            {"port:a:eth0"},
        ),
        "the bridge's address": (
            lambda: there(netlink.delete_address(netlink.index_of(bridge), gateway)),
            {"bridge:t/n"},
        ),
        "the bridge deleted": (
            lambda: there(netlink.delete_link(bridge)),
            {"bridge:t/n", "port:a:eth0", "port:b:eth0"},
        ),
        "an element deleted": (lambda: nft(f"flush map {table} any4"), {"rule::any4:tcp . 8080"}),
        "a tenant's element deleted": (
            lambda: netns.inside(tenant(net), lambda: nft(f"flush map {table} any4")),
            {"rule:t:any4:tcp . 8080"},
        ),
        "a way out cut": (lambda: do(netlink.delete_link(uplink_name(instance, "t"))), {"tenant:t"}),
        "an element changed": (
            lambda: nft(f"flush map {table} any4\nadd element {table} any4 {{ tcp . 8080 : 10.1.1.1 . 1 }}"),
            {"rule::any4:tcp . 8080"},
        ),
        "a sandbox unmounted": (lambda: netns.remove(Path(paths["a"])), {"sandbox:a", "port:a:eth0"}),
    }
    for what, (spoil, keys) in drifts.items():
        spoil()
        assert {step.key for step in await net.plan()} == keys, what
        await net.reconcile()
        assert await net.plan() == (), what
        assert net.statuses() == ()
        assert works(net, paths), what


async def test_a_flushed_ruleset_is_made_anew(net: NetAgent) -> None:
    paths = await build(net)
    nft("flush ruleset")
    steps = await net.plan()
    assert steps[0].key == "table:"
    await net.reconcile()
    assert await net.plan() == ()
    assert works(net, paths)


async def test_what_carries_the_mark_but_is_not_wanted_is_removed(net: NetAgent, instance: str, rundir: Path) -> None:
    await build(net)
    marked = netlink.set_link("stray", alias=f"hawser:{instance}:bridge:t/gone")
    netns.inside(tenant(net), lambda: do(netlink.new_bridge("stray"), marked))
    netns.create(rundir / "netns" / "stray")
    (rundir / "netns" / "stale").touch()
    assert [str(step) for step in await net.plan()] == [
        "delete bridge:t/gone: exists but is not wanted",
        "delete sandbox:stale: exists but is not wanted",
        "delete sandbox:stray: exists but is not wanted",
    ]
    await net.reconcile()
    assert await net.plan() == ()
    assert "stray" not in netns.inside(tenant(net), links)
    assert {path.name for path in (rundir / "netns").iterdir()} == {"a", "b"}


async def test_what_is_foreign_is_never_touched(net: NetAgent, instance: str, rundir: Path) -> None:
    do(netlink.new_bridge("docker0"), netlink.new_bridge("hwbforeign"))
    do(netlink.set_link("hwbforeign", alias="hawser:other:bridge:t/n"))
    nft("add table inet hawser_other\nadd table ip nat")
    netns.create(rundir / "foreign")
    try:
        await build(net)
        await net.reconcile()
        await net.teardown()
        assert {"docker0", "hwbforeign"} <= links()
        assert netns.alive(rundir / "foreign")
        nft("list table inet hawser_other")
        nft("list table ip nat")
    finally:
        nft("delete table inet hawser_other\ndelete table ip nat")
        do(netlink.delete_link("docker0"), netlink.delete_link("hwbforeign"))
        netns.remove(rundir / "foreign")


async def test_a_foreign_link_with_our_name_is_neither_marked_nor_removed(net: NetAgent, instance: str) -> None:
    name = uplink_name(instance, "t")
    do(netlink.new_bridge(name))
    try:
        await net.create_network({"tenant": "t", "name": "n"})
        await net.make_sandbox("a")
        with pytest.raises(Exists, match="File exists"):
            await net.attach("a", tenant="t", network="n")
        with Netlink() as here:
            link = here.link(name)
        assert link is not None
        assert (link.alias, link.kind) == ("", "bridge")
        assert net.attachments() == ()
        assert await net.plan() == ()
    finally:
        do(netlink.delete_link(name))


async def test_a_restart_changes_nothing_and_a_reboot_is_made_good(
    net: NetAgent, store: Store, instance: str, rundir: Path
) -> None:
    paths = await build(net)
    again = NetAgent(store, instance, rundir)
    await again.open()
    assert await again.reconcile() == ()
    assert again.attachments() == net.attachments()
    await again.close()
    for path in (*paths.values(), str(tenant(net))):  # a reboot: the files stay, all else is gone
        netns.remove(Path(path))
        open(path, "w").close()  # noqa: ASYNC230
    do(netlink.delete_link(uplink_name(instance, "t")))
    nft("flush ruleset")
    await net.reconcile()
    assert await net.plan() == ()
    assert works(net, paths)


class Fuse(Exception):
    """The process is dead: from here on, nothing it does arrives."""


class Mortal:
    """A kernel or a store that dies after some calls; `shared` counts them for both."""

    def __init__(self, real: Any, shared: list[int]) -> None:
        self._real, self._shared = real, shared

    def _burn(self) -> None:
        self._shared[0] -= 1
        if self._shared[0] < 0:
            raise Fuse


class MortalKernel(Mortal):
    def apply(self, step: Step[Any]) -> None:
        self._burn()
        self._real.apply(step)

    def prepare(self, key: str, spec: Any) -> None:
        self._burn()
        self._real.prepare(key, spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class MortalStore(Mortal):
    async def txn(self, *args: Any) -> Any:
        self._burn()
        return await self._real.txn(*args)

    async def put(self, *args: Any, **kwargs: Any) -> Any:
        self._burn()
        return await self._real.put(*args, **kwargs)

    async def delete(self, *args: Any, **kwargs: Any) -> Any:
        self._burn()
        return await self._real.delete(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def _life(net: NetAgent) -> None:
    await net.open()
    await build(net)
    await net.detach("b", "eth0")
    await net.remove_sandbox("a")
    await net.remove_network("t", "n")
    await net.remove_sandbox("b")


async def test_a_crash_at_any_step_leaks_nothing(store: Store, instance: str, rundir: Path) -> None:
    """Dead after n steps, for every n; then a new agent on the same store."""
    before, steps = links(), 0
    while True:
        fuse = [steps]
        kernel = MortalKernel(World(instance, rundir), fuse)
        dying = NetAgent(MortalStore(store, fuse), instance, rundir, kernel=lambda *_, kernel=kernel: kernel)
        survived = True
        try:
            await _life(dying)
        except Fuse:
            survived = False
        await dying.close()
        after = NetAgent(store, instance, rundir)
        await after.open()
        assert after.statuses() == (), steps
        assert await after.plan() == (), steps
        await after.teardown()
        await after.close()
        assert links() == before, steps
        assert list((rundir / "netns").glob("*")) == [], steps
        if survived:
            break
        steps += 1
    assert steps > 20


async def test_a_crash_inside_a_port_is_seen_by_its_mark(net: NetAgent, instance: str) -> None:
    """Between the pair's making and its addresses: the link is marked `new`, and made again."""
    paths = await build(net)
    index = netlink.index_of(derived("hwp", instance, "a:eth0"))
    netns.inside(tenant(net), lambda: do(netlink.mark_link(index, f"hawser:{instance}:new:port:a:eth0")))
    assert [(step.verb, step.key) for step in await net.plan()] == [
        ("delete", "new:port:a:eth0"),
        ("create", "port:a:eth0"),
    ]
    await net.reconcile()
    assert await net.plan() == ()
    assert works(net, paths)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "::"])
async def test_a_port_of_a_host_process_is_not_published(net: NetAgent, host: str) -> None:
    await net.create_network({"tenant": "t", "name": "n"})
    await net.make_sandbox("a")
    with serving(None, 8080, host), pytest.raises(Conflict, match="a process of this host has the port"):
        await net.attach("a", tenant="t", network="n", publish=[parse_publish("8080:80")])
    assert net.attachments() == ()
    assert await net.plan() == ()
    await net.attach("a", tenant="t", network="n", publish=[parse_publish("8080:80")])
    with pytest.raises(NetError, match=r"198\.51\.100\.1 is no address of this host"):
        await net.attach("a", tenant="t", network="n", ifname="eth1", publish=[parse_publish("198.51.100.1:8081:80")])


async def test_a_subnet_the_host_has_is_not_taken_unasked(net: NetAgent) -> None:
    """Who asks for it gets it, since tenants' addresses are their own."""
    do(netlink.new_bridge("lan0"))
    do(netlink.add_address(socket.if_nametoindex("lan0"), ip_interface("10.64.0.1/16")))
    try:
        free = await net.create_network({"tenant": "t", "name": "free"})
        assert str(free.subnets[0]) == "10.65.0.0/24"
        await net.create_network({"tenant": "t", "name": "n", "subnets": ["10.64.3.0/24"]})
    finally:
        do(netlink.delete_link("lan0"))
