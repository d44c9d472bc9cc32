"""Records of a cluster: their JSON, their keys, and that a machine is of one cluster only."""

from ipaddress import ip_address

import pytest

from hawser.store import Conflict, Corrupt, Invalid
from hawser.store.cluster import model
from hawser.store.cluster.model import (
    Capacity,
    Cluster,
    Machine,
    MemberRecord,
    Membership,
    Role,
    Versions,
    decode,
    encode,
)

CA = "sha256:" + "0" * 64
MACHINE = Machine(
    id="m1",
    addresses=("10.0.0.1", "fd00::1"),
    capacity=Capacity(cpus=2.0, memory=8 << 30, disk=100 << 30),
    versions=Versions(hawser="0.2", kernel="6.18.5", etcd="3.4.23"),
    started=1_800_000_000.5,
    role=Role.MEMBER,
    labels={"zone": "a"},
)
MEMBERSHIP = Membership(
    cluster="c1", machine="m1", role=Role.MEMBER, endpoints=("10.0.0.1:7443",), ca=(CA,), joined=1.0
)


@pytest.mark.parametrize(
    "record",
    [
        MACHINE,
        MEMBERSHIP,
        Cluster(id="c1", created=1.0, ca=(CA,), name="lab", members=3),
        MemberRecord(machine="m1", peer_urls=("https://10.0.0.1:2380",), client_urls=("https://10.0.0.1:2379",)),
    ],
)
def test_a_record_survives_its_json(record: object) -> None:
    assert decode(type(record), encode(record), "here") == record


def test_a_machines_addresses_are_addresses() -> None:
    assert MACHINE.ips == (ip_address("10.0.0.1"), ip_address("fd00::1"))


def test_fields_of_a_later_version_are_left_alone() -> None:
    assert decode(Machine, encode(MACHINE)[:-1] + b',"later":1}', "here") == MACHINE


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ((b'"id":"m1"', b'"id":"M1"'), "machine: id 'M1'"),
        ((b'"id":"m1"', b'"id":1'), r"Expected `str`, got `int` - at `\$.id`"),
        ((b'"fd00::1"', b'"FD00::1"'), "write it fd00::1"),
        ((b'"fd00::1"', b'"fe80::1%eth0"'), "leave the scope id out"),
        ((b'"fd00::1"', b'"x"'), "this is no IP address"),
        ((b'"role":"member"', b'"role":"king"'), "Invalid enum value 'king'"),
        ((b'"cpus":2.0', b'"cpus":"2"'), r"capacity.cpus"),
        ((b"}", b""), "holds no machine"),
    ],
)
def test_a_broken_record_is_named_with_what_is_wrong(change: tuple[bytes, bytes], problem: str) -> None:
    with pytest.raises(Corrupt, match=problem) as error:
        decode(Machine, encode(MACHINE).replace(*change), "/hawser/cluster/machines/m1")
    assert str(error.value).startswith("/hawser/cluster/machines/m1 holds no machine: ")


def test_every_problem_of_a_membership_is_named() -> None:
    with pytest.raises(Invalid) as error:
        Membership(cluster="C", machine="", role=Role.CLIENT, endpoints=("nowhere",), ca=("x",), joined=0)
    for part in ("cluster id 'C'", "machine id ''", "endpoint 'nowhere'", "CA hash 'x'"):
        assert part in str(error.value)


def test_keys_hold_ids_only() -> None:
    assert model.machine_key("m1") == "/hawser/cluster/machines/m1"
    assert model.token_key("abcd2345") == "/hawser/cluster/tokens/abcd2345"
    assert model.member_key("m1") == "/hawser/cluster/members/m1"
    with pytest.raises(Invalid):
        model.machine_key("../leader")


def test_a_machine_belongs_to_one_cluster() -> None:
    model.check_joins(None, "c1")
    model.check_joins(MEMBERSHIP, "c1")
    with pytest.raises(Conflict, match="belongs to cluster c1 and cannot join c2 too: leave it first"):
        model.check_joins(MEMBERSHIP, "c2")
    model.check_founds(None)
    with pytest.raises(Conflict, match="belongs to cluster c1 and cannot found another"):
        model.check_founds(MEMBERSHIP)


def test_a_machine_uses_its_own_clusters_store() -> None:
    own = Cluster(id="c1", created=1.0, ca=(CA,))
    model.check_store(None, None)
    model.check_store(None, own)
    model.check_store(MEMBERSHIP, own)
    with pytest.raises(Conflict, match=r"the store at 10.0.0.1:7443 is of cluster c2: correct the endpoints"):
        model.check_store(MEMBERSHIP, Cluster(id="c2", created=1.0, ca=(CA,)))
    with pytest.raises(Conflict, match="is of no cluster"):
        model.check_store(MEMBERSHIP, None)
