"""The plan names every interface once and every port's bridge exists."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.labs.model import topology
from hawser.labs.render import render
from hawser.labs.shapes import linear, tree


@settings(max_examples=30)
@given(depth=st.integers(1, 3), fanout=st.integers(1, 4))
def test_every_end_of_every_link_is_made_once_and_every_switch_port_joins_its_bridge(depth: int, fanout: int) -> None:
    lab = tree(depth, fanout)
    plan = render(lab)
    made = [name for space in plan.spaces for cable in space.cables for name in (cable.name, cable.peer)]
    made += [name for trunk in plan.trunks for name in (trunk.name, trunk.peer)]
    assert sorted(made) == sorted(end.interface for link in lab.links for end in (link.a, link.b))
    bridge = {bridge.index: bridge.name for bridge in plan.bridges}
    joined = {(port.name, bridge[port.bridge]) for port in plan.ports}
    joined |= {(cable.peer, bridge[cable.bridge]) for space in plan.spaces for cable in space.cables}
    assert joined == {
        (end.interface, end.node) for link in lab.links for end in (link.a, link.b) if end.node in lab.switches
    }
    assert len(bridge) == len(lab.switches) == len({b.mac for b in plan.bridges})


def test_only_the_first_interface_of_a_host_has_the_address() -> None:
    plan = render(topology(["h1"], ["s1", "s2"], [("h1", "s1"), ("s2", "h1")]))
    first, second = plan.spaces[0].cables
    assert (first.name, str(first.address), first.peer) == ("h1-eth0", "10.0.0.1/8", "s1-eth1")
    assert (second.name, second.address, second.peer) == ("h1-eth1", None, "s2-eth1")
    assert first.index != second.index


def test_deterministic() -> None:
    assert render(linear(3, 2)) == render(linear(3, 2))
