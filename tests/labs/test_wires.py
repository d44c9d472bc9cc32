"""Cut, partitioned and slow links, seen by real frames: what is lost, what still arrives, and that it heals."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hawser.labs import Impairment, Lab, LabError, linear, single, topology
from hawser.labs.errors import Conflict, Exists, Invalid, NotFound, Unavailable
from hawser.labs.model import End
from tests.wait import until

pytestmark = pytest.mark.root
WAIT = 0.1  # seconds: a frame takes microseconds
NETEM = subprocess.run("unshare -n tc qdisc add dev lo root netem delay 1ms", shell=True, capture_output=True)


@pytest.fixture
def lab(rundir: Path) -> Iterator[Lab]:
    """Five hosts at one switch, who know each other: a question for a neighbour is repeated only every second."""
    with Lab(single(5), name="t", run=rundir) as made:
        know_each_other(made)
        yield made


@pytest.fixture
def row(rundir: Path) -> Iterator[Lab]:
    """Two switches with two hosts each: h1s1 h2s1 s1 - s2 h1s2 h2s2."""
    with Lab(linear(2, 2), name="t", run=rundir) as made:
        know_each_other(made)
        yield made


def lost(lab: Lab) -> set[tuple[str, str]]:
    return set(lab.pingall(timeout=WAIT).lost)


def between(*groups: str) -> set[tuple[str, str]]:
    """Every pair, both ways, of hosts in different groups."""
    sets = [group.split() for group in groups]
    return {(a, b) for one in sets for other in sets if one is not other for a in one for b in other}


def arrives(lab: Lab, source: str, target: str) -> bool:
    """Whether one datagram gets through, whatever becomes of the way back."""
    receiver = lab.host(target).inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender = lab.host(source).inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with receiver, sender:
        receiver.bind(("", 7))
        sender.sendto(b"x", (lab.host(target).ip, 7))
        return bool(select.select([receiver], [], [], WAIT)[0])


def know_each_other(lab: Lab) -> None:
    """Neighbours that do not have to be asked for."""
    for host in lab.hosts:
        words = [f"neighbour replace {o.ip} lladdr {o.mac} dev {host.name}-eth0" for o in lab.hosts if o is not host]
        host.cmd("; ".join(f"ip {word}" for word in words))


def test_a_host_that_is_cut_off_reaches_nobody_until_it_is_healed(lab: Lab) -> None:
    lab.cut("h1")
    assert lost(lab) == between("h1", "h2 h3 h4 h5")
    assert "LOWER_UP" in lab.host("h1").cmd("ip link show h1-eth0")
    lab.heal("h1")
    assert lost(lab) == set()


def test_hosts_that_have_to_ask_for_each_other_are_found_again(rundir: Path) -> None:
    with Lab(single(2), run=rundir) as lab:
        lab.cut("h1")
        assert lab.pingall(timeout=WAIT).loss == 100
        lab.heal()
        until(lambda: not lost(lab), what="the neighbours")


def test_a_one_way_cut_loses_what_is_sent_and_not_what_is_received(lab: Lab) -> None:
    lab.cut("h1", "s1", one_way=True)
    assert (arrives(lab, "h1", "h2"), arrives(lab, "h2", "h1")) == (False, True)
    lab.heal()
    lab.cut("s1", "h1", one_way=True)
    assert (arrives(lab, "h1", "h2"), arrives(lab, "h2", "h1")) == (True, False)


def test_two_hosts_that_do_not_hear_each_other_hear_all_others(lab: Lab) -> None:
    lab.cut("h1", "h2")
    assert lost(lab) == between("h1", "h2")
    lab.heal("h2", "h1")
    assert lost(lab) == set()


def test_one_host_may_be_deaf_to_another(lab: Lab) -> None:
    lab.cut(lab.host("h1"), lab.host("h2"), one_way=True)
    assert (arrives(lab, "h1", "h2"), arrives(lab, "h2", "h1")) == (False, True)
    assert (arrives(lab, "h1", "h3"), arrives(lab, "h3", "h2")) == (True, True)


def test_groups_talk_inside_and_who_is_in_none_talks_to_all(lab: Lab) -> None:
    lab.partition(["h1", "h2"], [lab.host("h3"), "h4"])
    assert lost(lab) == between("h1 h2", "h3 h4")
    lab.partition(["h1"], ["h2"], ["h3", "h4", "h5"])
    assert lost(lab) == between("h1", "h2", "h3 h4 h5")
    lab.partition()
    assert lost(lab) == set()


def test_a_partition_holds_across_switches(row: Lab) -> None:
    row.partition(["h1s1", "h1s2"], ["h2s1", "h2s2"])
    assert lost(row) == between("h1s1 h1s2", "h2s1 h2s2")


def test_a_partition_does_not_look_at_addresses(lab: Lab) -> None:
    """What runs on a host may have MACs and addresses of its own."""
    lab.partition(["h1"], ["h2", "h3"])
    lab.host("h1").cmd(
        "ip link add m0 link h1-eth0 type macvlan mode bridge; ip link set m0 up; ip address add 192.168.9.1/24 dev m0"
    )
    for host in ("h2", "h4"):
        lab.host(host).cmd(f"ip address add 192.168.9.{host[1:]}/24 dev {host}-eth0")
    assert not pings(lab, "h1", "-I m0 192.168.9.2")
    assert pings(lab, "h1", "-I m0 192.168.9.4")


def test_a_cut_trunk_parts_two_switches(row: Lab) -> None:
    row.cut("s1", "s2")
    assert lost(row) == between("h1s1 h2s1", "h1s2 h2s2")
    row.heal("s2", "s1")
    assert lost(row) == set()


def test_faults_add_up_and_heal_apart(lab: Lab) -> None:
    lab.cut("h5")
    lab.partition(["h1"], ["h2", "h3", "h4"])
    lab.cut("h2", "h3")
    assert lost(lab) == between("h1", "h2 h3 h4") | between("h2", "h3") | between("h5", "h1 h2 h3 h4")
    lab.heal("h5")
    assert lost(lab) == between("h1", "h2 h3 h4") | between("h2", "h3")
    lab.heal()
    assert lost(lab) == set()
    assert "lab" not in fabric(lab, "nft list tables")


def test_a_connection_goes_on_after_a_partition(lab: Lab) -> None:
    listener = lab.host("h1").inside(lambda: socket.create_server(("", 80)))
    client = lab.host("h2").inside(lambda: socket.create_connection((lab.host("h1").ip, 80), WAIT))
    server, _ = listener.accept()
    with listener, client, server:
        server.settimeout(5)
        lab.partition(["h1"], ["h2"])
        client.sendall(b"across")
        assert not select.select([server], [], [], WAIT)[0]
        lab.heal()
        assert server.recv(64) == b"across"


def test_another_process_sees_the_faults_and_heals_them(lab: Lab, rundir: Path) -> None:
    lab.cut("h1", "h2")
    again = Lab.find("t", run=rundir)
    assert again.faults == lab.faults
    assert again.faults.apart == {("h1", "h2"), ("h2", "h1")}
    code = "import sys; from hawser.labs import Lab; Lab.find('t', run=sys.argv[1]).heal()"
    subprocess.run([sys.executable, "-c", code, str(rundir)], check=True)
    assert lost(lab) == set()


def test_a_change_waits_for_another_one(lab: Lab) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: lab.cut(f"h{number}", "s1"), range(1, 6)))
    assert len(lab.faults.cuts) == 10


def speed(lab: Lab, source: str, target: str, size: int) -> float:
    """Bits per second of one TCP stream."""
    listener = lab.host(target).inside(lambda: socket.create_server(("", 80)))
    sender = lab.host(source).inside(lambda: socket.create_connection((lab.host(target).ip, 80), 5))
    receiver, _ = listener.accept()
    with listener, sender, receiver:
        sender.setblocking(False)
        left, got, start = memoryview(bytes(size)), 0, time.monotonic()
        while got < size:
            readable, writable, _ = select.select([receiver], [sender] if left else [], [], 5)
            assert readable or writable
            if writable:
                left = left[sender.send(left[:65536]) :]
            if readable:
                got += len(receiver.recv(65536))
        return got * 8 / (time.monotonic() - start)


def test_a_slow_link_is_as_slow_as_asked_both_ways_and_fast_when_healed(lab: Lab) -> None:
    lab.impair("h1", rate="10mbit")
    assert speed(lab, "h1", "h2", 200_000) < 12e6
    assert speed(lab, "h2", "h1", 200_000) < 12e6
    assert speed(lab, "h2", "h3", 2_000_000) > 50e6
    lab.heal("h1")
    assert speed(lab, "h1", "h2", 2_000_000) > 50e6
    assert "tbf" not in lab.host("h1").cmd("tc qdisc")


def test_one_direction_alone_is_slow(lab: Lab) -> None:
    lab.impair("h1", "s1", rate=10_000_000, one_way=True)
    assert speed(lab, "h1", "h2", 200_000) < 12e6
    assert speed(lab, "h2", "h1", 2_000_000) > 50e6


def test_what_is_asked_for_last_counts(lab: Lab) -> None:
    lab.impair("h1", rate="1mbit")
    lab.impair("h1", rate="20mbit", loss="0.5%")
    assert lab.faults.impaired["h1-eth0"] == Impairment(rate=20_000_000, loss=0.5)
    assert "rate 20Mbit" in lab.host("h1").cmd("tc qdisc")
    lab.impair("h1")
    assert not lab.faults.impaired
    assert "tbf" not in lab.host("h1").cmd("tc qdisc") + fabric(lab, "tc qdisc")


def test_a_lossy_link_loses_its_part(lab: Lab) -> None:
    lab.impair("h1", "s1", loss=50, one_way=True)
    receiver = lab.host("h2").inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender = lab.host("h1").inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with receiver, sender:
        receiver.bind(("", 7))
        for _ in range(200):
            sender.sendto(b"x", (lab.host("h2").ip, 7))
        got = 0
        while select.select([receiver], [], [], WAIT)[0]:
            got += len(receiver.recv(9))
    assert 50 < got < 150  # seven standard deviations


@pytest.mark.skipif(not NETEM.returncode, reason="this kernel has netem")
def test_without_netem_a_delay_is_refused_and_changes_nothing(lab: Lab) -> None:
    lab.impair("h1", rate="10mbit")
    before = lab.faults
    with pytest.raises(Unavailable, match="this kernel lacks netem; a limited rate and loss work without it"):
        lab.impair("h1", rate="5mbit", delay="20ms")
    assert lab.faults == before
    assert "rate 10Mbit" in lab.host("h1").cmd("tc qdisc")
    assert "rate 10Mbit" in fabric(lab, "tc qdisc")


@pytest.mark.skipif(bool(NETEM.returncode), reason="this kernel lacks netem")
def test_a_delay_is_as_long_as_asked_each_way(lab: Lab) -> None:
    lab.impair("h1", delay="60ms", rate="100mbit")
    assert lost(lab) >= between("h1", "h2 h3 h4 h5")
    assert lab.pingall(timeout=2).loss == 0


@pytest.mark.parametrize(
    ("act", "kind", "why"),
    [
        (lambda lab: lab.cut("h9"), NotFound, "no host or switch h9"),
        (lambda lab: lab.cut("h1", "s9"), NotFound, "no host or switch s9"),
        (lambda lab: lab.cut("h1", "h1"), Invalid, "no link between h1 and h1"),
        (lambda lab: lab.partition(["h1"], ["s1"]), NotFound, "no host s1"),
        (lambda lab: lab.partition(["h1"], ["h1"]), Invalid, "h1 is named twice"),
        (lambda lab: lab.partition(["h1"]), Invalid, "at least two groups"),
        (lambda lab: lab.impair("h1", "h2", loss=1), Invalid, "no link between them"),
        (lambda lab: lab.impair("h1", rate=10), Invalid, "at least 1000"),
        (lambda lab: lab.impair("h1", rate="fast"), Invalid, "rate 'fast'"),
        (lambda lab: lab.impair("h1", loss=101), Invalid, "0 to 100"),
        (lambda lab: lab.heal("h9"), NotFound, "no host or switch h9"),
        (lambda lab: lab.attach("s1"), Exists, "has a s1"),
        (lambda lab: lab.attach(switch="s2"), NotFound, "has no s2"),
        (lambda lab: lab.attach("much-too-long"), Invalid, "at most 10 bytes"),
    ],
)
def test_what_makes_no_sense_is_refused(act: object, kind: type[LabError], why: str, lab: Lab) -> None:
    assert callable(act)
    with pytest.raises(kind, match=why):
        act(lab)
    assert lab.faults == type(lab.faults)()


def test_a_lab_that_is_down_has_no_wires_to_cut(rundir: Path) -> None:
    lab = Lab(single(2), name="t", run=rundir)
    with pytest.raises(NotFound):
        lab.cut("h1")
    lab.up()
    subprocess.run(["umount", "--lazy", str(lab.home.spaces)], check=True)
    with pytest.raises(Conflict, match="not up"):
        lab.cut("h1")
    lab.down()


def test_the_caller_sits_in_the_lab_and_is_cut_as_a_host(lab: Lab) -> None:
    here = lab.attach()
    assert (here.interface, here.ip) == ("here-eth0", "10.0.0.6")
    with lab.host("h1").inside(lambda: socket.create_server(("", 80))) as listener:
        with socket.create_connection((lab.host("h1").ip, 80), 1), listener.accept()[0] as peer:
            assert peer.getpeername()[0] == here.ip
        lab.partition(["h1"], ["h2", "h3"])
        socket.create_connection((lab.host("h1").ip, 80), 1).close()
        lab.partition(["h1"], ["h2", "h3", here])
        with pytest.raises(TimeoutError):
            socket.create_connection((lab.host("h1").ip, 80), WAIT)
        lab.heal()
        lab.cut("here", "h2")
        socket.create_connection((lab.host("h1").ip, 80), 1).close()
        lab.cut("here")
        with pytest.raises(TimeoutError):
            socket.create_connection((lab.host("h1").ip, 80), WAIT)
    lab.heal()
    lab.impair("here", rate="10mbit")
    assert "rate 10Mbit" in subprocess.run(["tc", "qdisc"], capture_output=True, text=True).stdout
    lab.heal()
    assert lab.pingall().loss == 0


def test_a_caller_may_sit_in_several_labs_and_at_several_switches(row: Lab, rundir: Path) -> None:
    first, second = row.attach(switch="s2"), row.attach("there", switch="s2")
    with Lab(single(2, ipbase="10.9.0.0/24"), name="u", run=rundir) as other:
        third = other.attach("u")
        assert (first.ip, second.ip, third.ip) == ("10.0.0.5", "10.0.0.6", "10.9.0.3")
        assert subprocess.run(["ping", "-c1", "-W1", "10.9.0.1"], stdout=subprocess.DEVNULL).returncode == 0
        names = {name for _, name in socket.if_nameindex()}
        assert {"here-eth0", "there-eth0", "u-eth0"} <= names
    assert "u-eth0" not in {name for _, name in socket.if_nameindex()}
    assert subprocess.run(["ping", "-c1", "-W1", "10.0.0.1"], stdout=subprocess.DEVNULL).returncode == 0


def test_labs_that_are_alike_do_not_touch_each_others_links_at_the_caller(lab: Lab, rundir: Path) -> None:
    lab.attach()
    with Lab(single(5, ipbase="10.9.0.0/24"), name="u", run=rundir) as twin:
        before = subprocess.run(["ip", "address"], capture_output=True).stdout
        with pytest.raises(LabError, match="create link here-eth0 - s1-eth6: File exists"):
            twin.attach()
        assert subprocess.run(["ip", "address"], capture_output=True).stdout == before
        twin.attach("twin")
        for address in ("10.0.0.1", "10.9.0.1"):
            assert subprocess.run(["ping", "-c1", "-W1", address], stdout=subprocess.DEVNULL).returncode == 0


def test_the_callers_link_goes_with_the_lab(rundir: Path) -> None:
    before = socket.if_nameindex()
    with Lab(single(2), run=rundir) as lab:
        lab.attach()
        lab.cut("here")
        assert socket.if_nameindex() != before
    until(lambda: socket.if_nameindex() == before, what="the link's end")


def test_a_host_with_two_links_is_in_its_group_on_both(rundir: Path) -> None:
    net = topology(["a", "b"], ["s1", "s2"], [("a", "s1"), ("b", "s1"), ("a", "s2"), ("b", "s2")])
    with Lab(net, run=rundir) as lab:
        for host, address in (("a", "172.16.0.1"), ("b", "172.16.0.2")):
            lab.host(host).cmd(f"ip link set {End(host, 1).interface} up; ip address add {address}/24 dev {host}-eth1")
        both = ["172.16.0.2", lab.host("b").ip]
        assert [pings(lab, "a", to) for to in both] == [True, True]
        lab.partition(["a"], ["b"])
        assert [pings(lab, "a", to) for to in both] == [False, False]


def pings(lab: Lab, source: str, words: str) -> bool:
    return lab.host(source).run(f"ping -c1 -W{WAIT} {words}").returncode == 0


def fabric(lab: Lab, command: str) -> str:
    words = ["nsenter", f"--net={lab.home.space('fabric')}", *command.split()]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
