"""The encrypted overlay between machines, for real: every test on each kind of WireGuard that is here."""

import itertools
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from hawser.netd.drivers import netlink
from hawser.netd.drivers.netlink import Netlink
from hawser.netd.errors import Conflict
from hawser.netd.wireguard.drivers import userspace
from hawser.netd.wireguard.drivers.kernel import new_wireguard
from hawser.netd.wireguard.drivers.probe import Flavour
from hawser.netd.wireguard.specs import alias_of, compile_peers, ifname_of, peers_of
from tests.netd.wireguard.machines import Cluster, Machine, Pings, answers, captured, links
from tests.wait import until

pytestmark = pytest.mark.root
WORDS = b"the quick brown fox"


def process_of(machine: Machine, sockets: Path, slot: int) -> int:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(sockets / f"{ifname_of(machine.instance, slot)}.sock"))
        return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def sessions(machine: Machine, slot: int) -> dict[str, float]:
    state = machine.do(machine.overlay.devices[slot].state)
    assert state is not None
    return {key: peer.handshake for key, peer in state.peers.items()}


def quick(*machines: Machine, period: float) -> Cluster:
    """Machines that change keys every few seconds."""
    for machine in machines:
        machine.do(machine.overlay.close)
        machine.period = period
        machine.open()
    cluster = Cluster(*machines)
    cluster.settle()
    return cluster


def test_machines_reach_each_others_inner_addresses(cluster: Cluster) -> None:
    first, second = cluster.machines.values()
    assert answers(first, second)
    assert answers(second, first)


def test_what_was_applied_is_what_is_observed(cluster: Cluster) -> None:
    for name, machine in cluster.machines.items():
        peers = peers_of(cluster.records[name], cluster.records.values())
        for slot in (0, 1):
            wanted = compile_peers(cluster.records[name], peers, machine.instance, slot)
            assert machine.do(machine.overlay.devices[slot].observe) == wanted


def test_nothing_is_in_the_clear_on_the_underlay(cluster: Cluster) -> None:
    first, second = cluster.machines.values()
    with second.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server, captured(first) as frames:
        server.bind((str(second.inner), 7777))
        server.settimeout(3)
        with first.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            for _ in range(10):
                client.sendto(WORDS, (str(second.inner), 7777))
                assert server.recv(100) == WORDS
    data = [frame for frame in frames if struct.pack("!H", 51820) in frame or struct.pack("!H", 51821) in frame]
    assert len(data) >= 10
    assert not any(WORDS in frame or first.inner.packed in frame or second.inner.packed in frame for frame in frames)


def test_a_full_packet_fits_the_underlay(cluster: Cluster) -> None:
    first, second = cluster.machines.values()
    payload = bytes(1440 - 40 - 8)
    with second.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server, captured(first) as frames:
        server.bind((str(second.inner), 7777))
        server.settimeout(3)
        with first.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.sendto(payload, (str(second.inner), 7777))
            assert server.recv(2000) == payload
    assert max(map(len, frames)) == 14 + 1500
    assert all(frame[12:14] != b"\x08\0" or not struct.unpack_from("!H", frame, 20)[0] & 0x3FFF for frame in frames)


def test_who_has_another_key_does_not_get_through(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    own = first.step([], time.time()).own
    theirs = second.step([], time.time()).own
    second.do(second.overlay.remove)
    (second.base / "wireguard.key").unlink()
    second.open()
    second.step([own], time.time())  # another key than the one the first one knows
    first.step([theirs], time.time())
    assert not answers(first, second, timeout=1)
    assert not answers(second, first, timeout=1)
    first.step([second.step([own], time.time()).own], time.time())
    until(lambda: answers(first, second, timeout=0.5), timeout=20)


def test_a_dead_machine_is_forgotten_and_the_others_go_on(cluster: Cluster) -> None:
    first, second = cluster.machines.values()
    before = sessions(first, 0)
    third = cluster.records["b"].__class__(
        machine="c",
        address=second.address,
        mtu=1500,
        public_key="6K9TqhXnuZyGQHOhRWEXxWcgsgTJbvPJq1TZKDDNGGY=",
        wireguard_port=9,
    )
    first.step([*cluster.records.values(), third], time.time())
    assert set(sessions(first, 0)) == {*before, third.public_key}
    first.step([*cluster.records.values()], time.time())
    assert sessions(first, 0) == before
    first.step([cluster.records["a"]], time.time())
    assert sessions(first, 0) == {}
    assert not answers(first, second, timeout=0.3)


def test_a_restart_of_the_node_touches_nothing(cluster: Cluster) -> None:
    first, second = cluster.machines.values()
    before = [sessions(first, slot) for slot in (0, 1)]
    with Pings(first, second) as pings:
        first.do(first.overlay.close)
        first.open()
        cluster.turn()
        until(lambda: len(pings.answered) > 50)
    assert pings.lost == []
    assert [sessions(first, slot) for slot in (0, 1)] == before


def test_keys_change_under_traffic_without_a_lost_packet(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    cluster = quick(first, second, period=8.0)
    keys, slots = {cluster.records["a"].public_key}, list[int]()
    with Pings(first, second) as there, Pings(second, first) as back:

        def changed() -> bool:
            cluster.turn()
            keys.add(cluster.records["a"].public_key)
            slots.append(cluster.reports["a"].slots["b"])
            return len(keys) >= 4 and sum(one != other for one, other in itertools.pairwise(slots)) >= 3

        until(changed, timeout=90, what="three changes of keys and of slots")
    assert len(there.sent) > 1000
    assert there.lost == back.lost == []


def test_traffic_stays_where_it_works_while_the_records_cannot_be_written(pair: tuple[Machine, Machine]) -> None:
    cluster = quick(*pair, period=8.0)
    first, second = pair
    epoch = int(time.time() // 8.0) + 1
    cluster.turn((epoch - 0.25) * 8.0)
    heard, old = cluster.records["a"], [cluster.records["b"]]
    through = cluster.reports["a"].slots["b"]
    changed = first.step(old, (epoch + 0.2) * 8.0)  # the other slot's key, which nobody hears of
    assert through == 1 - epoch % 2
    assert changed.own.public_key != heard.public_key
    late = (epoch + 0.75) * 8.0  # traffic should be in the other slot by now
    assert first.step(old, late).slots["b"] == through
    assert answers(first, second)
    news = [changed.own]
    until(lambda: second.step(news, late) and first.step(old, late).slots["b"] == 1 - through, timeout=20)
    assert answers(first, second)


def test_a_key_does_not_change_under_traffic_that_could_not_move(pair: tuple[Machine, Machine]) -> None:
    cluster = quick(*pair, period=8.0)
    first = pair[0]
    epoch = int(time.time() // 8.0) + 1
    cluster.turn((epoch - 0.25) * 8.0)
    old = [cluster.records["b"]]
    changed = first.step(old, (epoch + 0.2) * 8.0)  # the other slot's key, which nobody hears of
    assert changed.own.public_key != cluster.records["a"].public_key
    assert changed.slots["b"] == 1 - epoch % 2
    late = (epoch + 1 + 0.2) * 8.0
    assert first.overlay.deadline(late) == late  # the key of the slot that still carries everything is due
    assert first.step(old, late).own.public_key == changed.own.public_key
    assert answers(*pair)


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
def test_a_killed_process_is_started_again_and_traffic_goes_on(cluster: Cluster, sockets: Path) -> None:
    first, second = cluster.machines.values()
    slot = cluster.reports["a"].slots["b"]
    with Pings(first, second) as pings:
        until(lambda: len(pings.answered) > 20)
        process = process_of(first, sockets, slot)
        os.kill(process, signal.SIGKILL)
        until(lambda: ifname_of(first.instance, slot) not in first.do(links), what="the end of the interface")
        cluster.turn()
        until(lambda: len(pings.answered) > 20 and max(pings.answered) > max(pings.sent) - 5, timeout=10)
        cluster.settle()
        mark = max(pings.sent)
        until(lambda: max(pings.answered) > mark + 50)
    assert ifname_of(first.instance, slot) in first.do(links)

    def reaped() -> bool:
        cluster.turn()
        return not Path(f"/proc/{process}").exists()

    until(reaped, what="the end of its last trace")
    assert [number for number in pings.lost if number > mark] == []
    assert len(pings.lost) < 200  # a second's


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
def test_a_process_outlives_the_node_and_is_found_again(cluster: Cluster, sockets: Path) -> None:
    first = cluster.machines["a"]
    process = process_of(first, sockets, 0)
    assert os.getsid(process) == process
    first.do(first.overlay.close)
    first.open()
    cluster.turn()
    assert process_of(first, sockets, 0) == process


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
def test_an_interface_that_was_not_marked_yet_is_taken_over(cluster: Cluster, sockets: Path) -> None:
    first = cluster.machines["a"]
    process = process_of(first, sockets, 0)

    def unmark() -> None:
        with Netlink() as rtnetlink:
            index = socket.if_nametoindex(ifname_of(first.instance, 0))
            rtnetlink.do([netlink.mark_link(index, "")])

    first.do(unmark)
    assert first.do(first.overlay.devices[0].observe) is None
    cluster.turn()
    assert first.do(first.overlay.devices[0].observe) is not None
    assert process_of(first, sockets, 0) == process


def test_an_interface_of_anothers_is_left_alone(pair: tuple[Machine, Machine], flavour: Flavour) -> None:
    first, _ = pair
    name = ifname_of(first.instance, 0)

    def build() -> None:
        with Netlink() as rtnetlink:
            kernel = flavour is Flavour.KERNEL
            rtnetlink.do([new_wireguard(one) if kernel else netlink.new_bridge(one) for one in (name, "wg0")])

    first.do(build)
    assert first.step([], time.time()).failures == (f"interface {name} is not ours; remove it: ip link delete {name}",)
    assert first.do(first.overlay.devices[1].observe) is not None  # the other slot works all the same
    first.do(first.overlay.remove)
    assert {name, "wg0"} <= set(first.do(links))

    def clear() -> None:
        with Netlink() as rtnetlink:
            rtnetlink.do([netlink.delete_link(name), netlink.delete_link("wg0")])

    first.do(clear)


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
def test_anothers_wireguard_go_under_our_name_is_left_alone(pair: tuple[Machine, Machine], sockets: Path) -> None:
    first, _ = pair
    name = ifname_of(first.instance, 0)
    theirs = first.do(lambda: subprocess.Popen(["wireguard-go", "-f", name], stdout=subprocess.DEVNULL))
    try:
        until(lambda: (sockets / f"{name}.sock").exists() and name in first.do(links))
        assert "is not ours" in first.step([], time.time()).failures[0]
        first.do(first.overlay.remove)
        assert theirs.poll() is None
        assert name in first.do(links)
    finally:
        theirs.terminate()
        theirs.wait(5)
    until(lambda: name not in first.do(links))


@pytest.mark.parametrize("flavour", [Flavour.USERSPACE], indirect=True)
def test_a_process_that_hangs_is_said(
    pair: tuple[Machine, Machine], sockets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = pair
    first.step([], time.time())
    process = process_of(first, sockets, 0)
    monkeypatch.setattr(userspace, "ANSWER", 0.3)
    os.kill(process, signal.SIGSTOP)
    try:
        name = ifname_of(first.instance, 0)
        assert first.step([], time.time()).failures == (
            f"wireguard-go {name}: no answer; end the process, it is started anew",
        )
    finally:
        os.kill(process, signal.SIGCONT)
    assert first.step([], time.time()).failures == ()


def test_a_taken_port_is_said_and_the_other_slot_works(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    with first.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 51820))
        report = first.step([], time.time())
        assert len(report.failures) == 1
        assert "UDP port 51820 is taken; choose another for WireGuard" in report.failures[0]
        Cluster(first, second).settle()
        until(lambda: answers(first, second, timeout=0.5))
    assert first.step([], time.time()).failures == ()


def test_without_a_slot_that_works_the_step_fails(pair: tuple[Machine, Machine]) -> None:
    first, _ = pair
    with first.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, first.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
        one.bind(("0.0.0.0", 51820))
        two.bind(("0.0.0.0", 51821))
        with pytest.raises(Conflict, match="UDP port 51820 is taken; choose another for WireGuard"):
            first.step([], time.time())
    assert first.step([], time.time()).failures == ()


def test_drift_made_by_hand_is_repaired(cluster: Cluster) -> None:
    first, second = cluster.machines.values()
    name = ifname_of(first.instance, 0)

    def spoil() -> None:
        with Netlink() as rtnetlink:
            index = socket.if_nametoindex(name)
            rtnetlink.do([netlink.set_link(name, mtu=1300)])
            address = next(one for one in rtnetlink.addresses() if one.index == index and one.scope == 0)
            rtnetlink.do([netlink.delete_address(index, address.address)])

    first.do(spoil)
    cluster.turn()
    spec = first.do(first.overlay.devices[0].observe)
    assert spec is not None
    assert (spec.mtu, spec.address) == (1440, first.inner)
    assert answers(first, second)


def test_everything_is_marked(cluster: Cluster) -> None:
    first = cluster.machines["a"]

    def look() -> set[str]:
        with Netlink() as rtnetlink:
            return {link.alias for link in rtnetlink.links() if link.name.startswith("hww")}

    assert first.do(look) == {alias_of(first.instance, 0), alias_of(first.instance, 1)}


def test_an_underlay_of_ipv6_carries_it_too(rundir: Path, sockets: Path, flavour: Flavour) -> None:
    first, second = (Machine(name, rundir, flavour, version=6) for name in ("a", "b"))
    try:
        first.cable(second)
        cluster = Cluster(first, second)
        cluster.settle()
        assert answers(first, second)
        spec = first.do(first.overlay.devices[0].observe)
        assert spec is not None
        assert spec.mtu == 1420
    finally:
        first.close()
        second.close()
