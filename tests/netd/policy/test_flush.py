"""Which connections a change of policy takes back."""

from dataclasses import dataclass, replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd.fabric import Fabric
from hawser.netd.model import Default, Rule
from hawser.netd.policy.decide import decide
from hawser.netd.policy.flush import Connection, changed, stale
from hawser.netd.policy.match import Packet
from hawser.netd.specs import RemoteSpec, RuleSpec, Spec, TableSpec
from hawser.store.reconcile import Step, Verb

from .worlds import IN, app, packet, packets, peer, policy, world, worlds

pytestmark = pytest.mark.pure


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Connection):
    """One with what names it, as a driver would have."""

    id: int


def entry(number: int, source: str, target: str, port: int = 80) -> Entry:
    return Entry(source=ip_address(source), target=ip_address(target), proto="tcp", port=port, id=number)


def test_only_what_is_no_longer_allowed_goes() -> None:
    found = [
        entry(1, "10.0.1.2", "10.0.2.2"),
        entry(2, "10.0.1.2", "10.0.2.2", 81),
        entry(3, "10.0.2.2", "10.0.1.2", 81),
        entry(4, "192.0.2.2", "10.0.2.2"),
        entry(5, "fd00:1::2", "fd00:2::2"),
    ]
    assert stale(world(), "blue", found) == ()
    fabric = world(
        policy("p", app("db"), Rule(direction=IN, peers=(peer(app("web")),), proto="tcp", ports=((80, 80),)))
    )
    assert [one.id for one in stale(fabric, "blue", found)] == [2, 4]


def test_what_a_port_that_left_had_goes() -> None:
    fabric = world(policy("p", app("db"), Rule(direction=IN, peers=(peer(app("web")),))))
    found = [entry(1, "10.0.1.2", "10.0.2.2"), entry(2, "10.0.1.2", "10.0.1.3"), entry(3, "10.0.1.2", "192.0.2.2")]
    fabric.put_port(replace(fabric.ports["m1/web1:eth0"], leaving=True))
    assert [one.id for one in stale(fabric, "blue", found)] == [1, 3]


def test_what_is_no_ports_is_left_alone() -> None:
    """The resolver's questions from the tenant's namespace to the outside, and a gateway's."""
    fabric = world(default=Default.DENY)
    found = [entry(1, "100.64.0.1", "192.0.2.53"), entry(2, "10.0.1.1", "192.0.2.53"), entry(3, "10.0.1.1", "10.0.1.2")]
    assert [one.id for one in stale(fabric, "blue", found)] == [3]


@settings(max_examples=100, deadline=None)
@given(worlds(), st.lists(packets(), max_size=10))
def test_what_stays_is_allowed_and_what_goes_is_not(fabric: Fabric, found: list[Packet]) -> None:
    gone = stale(fabric, "blue", found)
    assert list(gone) == [one for one in found if not decide(fabric, "blue", one).allowed]
    assert packet("192.0.2.2", "192.0.2.3") not in gone


def test_what_was_picked_up_in_its_middle_may_have_been_begun_by_either_end() -> None:
    fabric = world(policy("p", app("db"), Rule(direction=IN, proto="tcp", ports=((80, 80),))))
    picked_up = replace(entry(1, "10.0.2.2", "10.0.1.2", 40000), own=80, unsure=True)
    assert stale(fabric, "blue", [picked_up, replace(picked_up, own=81)]) == ()
    fabric = world(
        policy("p", app("db"), Rule(direction=IN, proto="tcp", ports=((80, 80),))),
        policy("q", app("web"), directions=(IN,)),
    )
    found = [picked_up, replace(picked_up, own=81), replace(picked_up, unsure=False)]
    assert list(stale(fabric, "blue", found)) == found[1:]


def done(verb: Verb, spec: Spec) -> Step[Spec]:
    return Step(verb=verb, key="", reason="", spec=spec)


def element(set_: str, text: str, tenant: str = "blue") -> RuleSpec:
    return RuleSpec(tenant=tenant, set=set_, element=text)


REMOTE = RemoteSpec(
    tenant="blue",
    network="blue/n",
    tunnel="x",
    bridge="b",
    mac="02:00:00:00:00:01",
    addresses=(ip_address("10.0.1.9"),),
    endpoint=ip_address("192.0.2.2"),
)


@pytest.mark.parametrize(
    ("steps", "tenants"),
    [
        ([done(Verb.UPDATE, TableSpec(tenant="blue", version="1"))], {"blue"}),
        ([done(Verb.UPDATE, TableSpec(tenant="", version="1"))], set()),
        ([done(Verb.CREATE, element("isolated_ingress4", "10.0.1.9"))], {"blue"}),
        ([done(Verb.CREATE, element("isolated_ingress4", "10.0.1.9")), done(Verb.CREATE, REMOTE)], set()),
        ([done(Verb.CREATE, element("sel_x4", "10.0.1.8")), done(Verb.CREATE, REMOTE)], {"blue"}),
        ([done(Verb.CREATE, element("sel_x4", "10.0.1.9", "red")), done(Verb.CREATE, REMOTE)], {"red"}),
        ([done(Verb.DELETE, element("sel_x4", "10.0.1.9")), done(Verb.DELETE, REMOTE)], {"blue"}),
        ([done(Verb.DELETE, element("joined", "a . b"))], {"blue"}),
        ([done(Verb.CREATE, element("frame_macs", "a . 02:00:00:00:00:01"))], set()),
    ],
)
def test_which_steps_change_what_policies_mean(steps: list[Step[Spec]], tenants: set[str]) -> None:
    assert changed(steps) == tenants
