"""Composition: objects do not claim each other's flows, and changes one by one come to what is compiled at once."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hawser.netd.fabric import Fabric
from hawser.netd.model import Kind, Port, Qos, Route, Router, Rule
from hawser.netd.ovs.flow import Flow, Key
from hawser.netd.ovs.meters import meters
from hawser.netd.ovs.pipeline import (
    Ofports,
    Pipeline,
    compile_flows,
    flows_of_network,
    flows_of_policies,
    flows_of_port,
)
from tests.netd.policy import worlds
from tests.netd.policy.worlds import IN, app, peer, policy

from .stage import MACHINES, ZONES, fabric, numbers

WEB = policy("web", app("db"), Rule(direction=IN, peers=(peer(app("web")),), proto="tcp", ports=((80, 80),)))
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compiled(made: Fabric, ofports: Ofports, machine: str = "m1") -> dict[Key, Flow]:
    return compile_flows(made, machine, ofports, zones=ZONES)


def test_no_two_objects_have_a_flow_of_one_name() -> None:
    made = fabric(WEB)
    ofports = numbers(made, "m1")
    flows = [flow for port in made.ports.values() for flow in flows_of_port(made, "m1", ofports, ZONES, port)]
    flows += [flow for net in made.networks.values() for flow in flows_of_network(made, "m1", ofports, ZONES, net)]
    flows += [flow for tenant in ZONES for flow in flows_of_policies(made, "m1", ofports, ZONES, tenant)]
    assert len({flow.key for flow in flows}) == len(flows)
    rest = set(compiled(made, ofports).values()) - set(flows)
    assert {flow.cookie for flow in rest} == {0}  # the pipeline's own
    assert set(flows) < set(compiled(made, ofports).values())


@st.composite
def ports(draw: st.DrawFn) -> Port:
    """Some port that might have been there all the time, or not: the same addresses on any machine."""
    sandbox, on, host = draw(st.sampled_from(worlds.PORTS))
    tenant = draw(st.sampled_from(["blue", "red"]))
    labels = draw(st.sampled_from([{"app": "web"}, {"app": "db"}, {}]))
    made = worlds.port(sandbox, on, host, tenant, labels=labels, leaving=draw(st.sampled_from([False, False, True])))
    return replace(made, machine=draw(st.sampled_from(MACHINES)), sandbox=f"{tenant}-{sandbox}")


@FEW
@given(st.lists(worlds.POLICIES, max_size=2, unique_by=lambda p: p.name), st.lists(ports(), max_size=12), st.data())
def test_changes_one_by_one_come_to_what_is_compiled_at_once(
    policies: Any, changes: list[Port], data: st.DataObject
) -> None:
    made = fabric(*policies, WEB, networks={"front": {"multicast": True}})
    made.routers["blue/s"] = Router(
        tenant="blue", name="s", networks=("front", "lone"),
        routes=(Route(subnet=ip_network("172.16.0.0/12"), via=ip_address("10.0.1.2")),),
    )  # fmt: skip
    if data.draw(st.booleans()):
        made.set_ports([])
    ofports = numbers(made, "m1")
    pipeline = Pipeline(made, "m1", ofports, zones=ZONES)
    programmed = dict(pipeline.flows)
    for port in changes:
        before = made.ports.get(port.key)
        after = None if before is not None and data.draw(st.booleans()) else port
        if after is None:
            made.drop_port(port.key)
        else:
            made.put_port(after)
        ofports = numbers(made, "m1")
        added, removed = pipeline.change(before, after, ofports=ofports)
        _apply(programmed, added, removed)
        assert programmed == compiled(made, ofports)
    assert pipeline.refresh() == ([], [])


def _apply(programmed: dict[Key, Flow], added: list[Flow], removed: list[Flow]) -> None:
    for flow in removed:
        assert programmed.pop(flow.key) == flow
    for flow in added:
        assert programmed.get(flow.key) != flow
        programmed[flow.key] = flow


@FEW
@given(st.lists(worlds.POLICIES, max_size=3, unique_by=lambda p: p.name), st.booleans(), st.booleans())
def test_a_tenants_change_or_an_endpoints_comes_to_the_same(policies: Any, router: bool, network: bool) -> None:
    made = fabric(WEB)
    ofports = numbers(made, "m1")
    pipeline = Pipeline(made, "m1", ofports, zones=ZONES)
    programmed = dict(pipeline.flows)
    del made.policies["blue/web"]
    made.policies.update((policy.key, policy) for policy in policies)
    if router:
        del made.routers["blue/r"]
    if network:
        del made.networks["blue/lone"]
    made.endpoints["m2"] = replace(made.endpoints["m2"], address=ip_address("fd00:9::2"))
    _apply(programmed, *pipeline.refresh(tenants=["blue"], machines=["m2"]))
    assert programmed == compiled(made, ofports)


def test_one_more_port_elsewhere_costs_its_own_flows_and_nothing_else() -> None:
    made = fabric(WEB)
    pipeline = Pipeline(made, "m1", numbers(made, "m1"), zones=ZONES)
    new = replace(worlds.port("web9", "front", 99), machine="m2", sandbox="blue-web9")
    made.put_port(new)
    added, removed = pipeline.change(None, new)
    assert removed == []
    assert {flow.cookie for flow in added} == {added[0].cookie}
    assert len(added) < 15
    made.drop_port(new.key)
    assert pipeline.change(new, None) == ([], added)


def test_a_moved_ports_flows_are_written_over_and_none_is_missing_between() -> None:
    made = fabric()
    pipeline = Pipeline(made, "m3", replace(numbers(made, "m3"), ports={"x:eth0": 1}), zones=ZONES)
    made.put_port(replace(worlds.port("x", "front", 77), machine="m3", sandbox="x"))
    pipeline.change(None, made.ports["m3/x:eth0"])
    before = made.ports["m1/blue-web1:eth0"]
    after = replace(before, machine="m2")
    made.drop_port(before.key)
    made.put_port(after)
    added, removed = pipeline.change(before, after)
    assert removed == []
    assert added
    assert all("10.9.0.2" in flow.actions for flow in added if "tun_dst" in flow.actions)


def test_what_is_leaving_or_has_no_number_or_no_endpoint_is_not_programmed() -> None:
    made = fabric()
    ofports = numbers(made, "m1")
    near, far = made.ports["m1/blue-web1:eth0"], made.ports["m2/blue-web2:eth0"]
    assert flows_of_port(made, "m1", ofports, ZONES, near)
    assert flows_of_port(made, "m1", ofports, ZONES, replace(near, leaving=True)) == []
    assert flows_of_port(made, "m1", replace(ofports, ports={}), ZONES, near) == []
    assert flows_of_port(made, "m1", ofports, ZONES, far)
    assert flows_of_port(made, "m1", replace(ofports, tunnels={}), ZONES, far) == []
    del made.endpoints["m2"]
    assert flows_of_port(made, "m1", ofports, ZONES, far) == []


def test_networks_of_another_plane_without_vni_or_of_a_tenant_without_zone_are_not_programmed() -> None:
    for changed in ({"kind": Kind.BRIDGE}, {"vni": 0}):
        made = fabric(networks={"front": changed, "back": changed})
        flows = compiled(made, numbers(made, "m1")).values()
        assert not any("dl_dst=02:00:00:00:01:02" in flow.match for flow in flows)
    made = fabric()
    assert not any(
        "reg5=0x8" in flow.match for flow in compile_flows(made, "m1", numbers(made, "m1"), zones={"blue": 7}).values()
    )


def test_a_machine_knows_nothing_of_networks_that_are_not_its() -> None:
    made = fabric(places={"web1": "m1", "web2": "m1", "db1": "m1", "db2": "m1", "safe1": "m2"})
    flows = compiled(made, numbers(made, "m2"), "m2").values()
    assert not any("dl_dst=02:00:00:00:01:02" in flow.match for flow in flows)
    assert not any(flow.match.startswith("in_port") for flow in compiled(made, numbers(made, "m3"), "m3").values())


def test_every_cookie_has_the_instance() -> None:
    made = fabric(WEB)
    flows = compile_flows(made, "m1", numbers(made, "m1"), zones=ZONES, instance=0xABCD).values()
    assert {flow.cookie >> 32 for flow in flows} == {0xABCD}


def test_meters_are_of_local_ports_that_have_a_limit() -> None:
    made = fabric()
    port = made.ports["m1/blue-web1:eth0"]
    made.put_port(replace(port, qos=Qos(egress=10_000_000, dscp=46)))
    ofports = numbers(made, "m1")
    number = ofports.ports[port.id]
    assert meters(made, "m1", ofports) == {
        number: f"meter={number},kbps,burst,bands=type=drop,rate=10000,burst_size=1000"
    }
    assert meters(made, "m2", numbers(made, "m2")) == {}
    flows = compiled(made, ofports).values()
    assert [flow.match for flow in flows if f"meter:{number}," in flow.actions] == [
        f"in_port={number},vlan_tci=0x0000/0x1fff"
    ]
    assert sum("set_field:46->ip_dscp" in flow.actions for flow in flows) == 3
