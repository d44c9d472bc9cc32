"""Files against what is there: the plan, its order and reasons, and what is refused before anything is done."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd.errors import Conflict, Invalid, NetError, NotFound
from hawser.netd.objects.checks import World, in_use, problems
from hawser.netd.objects.document import Known, Wanted, parse_files, parse_text, plan
from hawser.netd.objects.kinds import Object, encode_document, named, parse_document
from hawser.store.reconcile import Verb

from .stage import floating, network, policy, port, router, tenant

FILE = """
kind: tenant
name: blue
---
kind: floating
tenant: blue
address: 192.0.2.7
target: 10.0.0.5
network: web
---
kind: policy
tenant: blue
name: p
applies: {networks: [web]}
rules:
  - from: [{network: db}]
    proto: tcp
    ports: [443]
---
{kind: router, tenant: blue, name: core, networks: [web, db]}
---
{kind: port, tenant: blue, name: db-1, network: db}
---
{kind: network, tenant: blue, name: web, subnets: [10.0.0.0/24]}
---
{kind: network, tenant: blue, name: db, subnets: [10.0.1.0/24]}
"""


def wanted(*things: Object | dict[str, Any]) -> list[Wanted]:
    plains = [thing if isinstance(thing, dict) else encode_document(thing) for thing in things]
    return [
        Wanted(thing=parse_document(plain), plain=plain, where=f"document {n}") for n, plain in enumerate(plains, 1)
    ]


def known(*things: Object, attached: dict[str, tuple[str, ...]] | None = None, **applied: set[str]) -> Known:
    return Known(world=World(things), attached=attached or {}, applied=applied)


def steps(want: list[Wanted], there: Known, *, prune: bool = False, owner: str = "default") -> list[str]:
    return [f"{step.verb} {step.key}" for step in plan(want, there, owner=owner, prune=prune)]


def refusal(want: list[Wanted], there: Known, kind: type[NetError], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        plan(want, there, prune=options.get("prune", False), owner="default")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_is_made_after_what_it_needs() -> None:
    assert steps(list(parse_text(FILE)), known()) == [
        "create tenant:blue",
        "create network:blue/db",
        "create network:blue/web",
        "create port:blue/db-1",
        "create router:blue/core",
        "create policy:blue/p",
        "create floating:192.0.2.7",
    ]


def test_everything_is_removed_before_what_it_needs() -> None:
    things = [each.thing for each in parse_text(FILE)]
    names = {f"{step.key}" for step in plan(wanted(*things), known(), prune=False)}
    there = known(*things, default=names)
    assert steps(wanted(tenant("green")), there, prune=True) == [
        "delete floating:192.0.2.7",
        "delete policy:blue/p",
        "delete router:blue/core",
        "delete port:blue/db-1",
        "delete network:blue/db",
        "delete network:blue/web",
        "delete tenant:blue",
        "create tenant:green",
    ]


def test_a_tenant_goes_last_and_not_while_it_has_something() -> None:
    there = known(tenant(), network(), default={"tenant:blue", "network:blue/web"})
    other = {"kind": "tenant", "name": "green"}
    assert steps(wanted(other), there, prune=True) == [
        "delete network:blue/web",
        "delete tenant:blue",
        "create tenant:green",
    ]
    kept = known(tenant(), network(), default={"tenant:blue"})
    assert "tenant blue has network blue/web; remove those first" in refusal(wanted(other), kept, Conflict, prune=True)


def test_the_second_plan_is_empty() -> None:
    things = [each.thing for each in parse_text(FILE)]
    assert steps(list(parse_text(FILE)), known(*things)) == []


def test_what_a_document_leaves_open_stays_as_it_is() -> None:
    there = known(
        network(vni=77, plane="ovs", gateways=["10.0.0.9"]),
        port(mac="02:00:00:00:00:05", addresses=["10.0.0.5/24"]),
    )
    open_ = wanted({"kind": "network", "tenant": "blue", "name": "web"}, port())
    assert steps(open_, there) == []
    assert steps(wanted(port(addresses=["10.0.0.5"])), there) == []
    assert steps(wanted(port(addresses=["10.0.0.6"])), there) == ["update port:blue/db-1"]


def test_an_update_says_what_changes() -> None:
    there = known(tenant(default="allow"), network())
    found = plan(wanted(tenant(default="deny"), network(mtu=1400, multicast=True)), there, prune=False)
    assert [str(step) for step in found] == [
        "update tenant:blue: changes default",
        "update network:blue/web: changes mtu, multicast",
    ]


def test_prune_removes_only_what_the_set_applied_before() -> None:
    there = known(
        router("web"), network(), policy("web"), port(), default={"policy:blue/p", "port:blue/gone"}, own=set()
    )
    want = wanted(network())
    assert steps(want, there) == []
    assert steps(want, there, prune=True) == ["delete policy:blue/p"]
    assert steps(want, there, prune=True, owner="other") == []
    (step,) = plan(want, there, prune=True, owner="default")
    assert step.reason == "set default had it and no longer has it"


def test_prune_leaves_what_another_set_has_too() -> None:
    there = known(network(), policy("web"), default={"policy:blue/p"}, theirs={"policy:blue/p"})
    assert steps(wanted(network()), there, prune=True) == []


def test_a_network_goes_after_the_update_that_lets_go_of_it() -> None:
    things = [tenant(), network(), network("db", "10.0.1.0/24"), router("web", "db")]
    there = known(*things, default={"network:blue/db", "router:blue/core"})
    want = wanted(network(), router("web", "new"), network("new", "10.0.2.0/24"))
    assert steps(want, there, prune=True) == [
        "create network:blue/new",
        "update router:blue/core",
        "delete network:blue/db",
    ]


def test_a_subnet_can_be_taken_from_a_network_that_goes() -> None:
    there = known(network(), default={"network:blue/web"})
    assert steps(wanted(network("new")), there, prune=True) == ["delete network:blue/web", "create network:blue/new"]


def test_what_goes_must_not_be_needed_by_what_stays() -> None:
    there = known(network(), router("web"), default={"network:blue/web"})
    words = refusal(wanted(tenant()), there, Conflict, prune=True)
    assert words == "network blue/web is used by router blue/core; remove those first"
    peopled = known(network(), attached={"blue/web": ("c1", "c2")}, default={"network:blue/web"})
    assert "network blue/web is used by c1, c2" in refusal(wanted(tenant()), peopled, Conflict, prune=True)


@pytest.mark.parametrize("attached", [{"blue/web": ("c1",)}, None])
def test_a_subnet_does_not_change_under_ports(attached: dict[str, tuple[str, ...]] | None) -> None:
    there = known(network(), *([] if attached else [port()]), attached=attached)
    words = refusal(wanted(network(subnet="10.1.0.0/24")), there, Conflict)
    who = "c1" if attached else "port blue/db-1"
    assert words == (
        "document 1: network blue/web: cannot change subnets 10.0.0.0/24 to 10.1.0.0/24; "
        f"gateways 10.0.0.1 to 10.1.0.1 while {who} is on it; remove those first"
    )


def test_a_subnet_changes_while_nobody_is_there() -> None:
    assert steps(wanted(network(subnet="10.1.0.0/24")), known(network())) == ["update network:blue/web"]


def test_what_is_new_is_checked_against_everything_at_its_end() -> None:
    words = refusal(
        wanted(
            network("a", "10.0.0.0/16"),
            network("b", "10.0.5.0/24"),
            router("a", "missing"),
            policy("nowhere", name="q"),
            port("x", "a", addresses=["10.0.0.1"]),
            port("y", "a", addresses=["10.1.0.1"]),
            port("z", "a", addresses=["10.0.0.9/24"]),
            floating(network="a", target="10.0.0.0"),
        ),
        known(network("c", "10.0.9.0/24")),
        Conflict,
    )
    for part in (
        "document 1: network blue/a: 10.0.0.0/16 overlaps network blue/",
        "document 2: network blue/b: 10.0.5.0/24 overlaps network blue/a",
        "document 3: router blue/core: network blue/missing does not exist",
        "document 4: policy blue/q: network blue/nowhere does not exist",
        "document 5: port blue/x: address 10.0.0.1 is the gateway",
        "document 6: port blue/y: address 10.1.0.1 is not in network blue/a",
        "document 7: port blue/z: address 10.0.0.9/24: the subnet is 10.0.0.0/16",
        "document 8: floating 192.0.2.7: target: address 10.0.0.0 is reserved",
    ):
        assert part in words


def test_two_ports_do_not_have_one_address_or_mac() -> None:
    mac = "02:00:00:00:00:05"
    words = refusal(
        wanted(network(), port("a", addresses=["10.0.0.5"], mac=mac), port("b", addresses=["10.0.0.5"], mac=mac)),
        known(),
        Conflict,
    )
    assert "document 3: port blue/b: MAC 02:00:00:00:00:05 is port blue/a's on blue/web" in words
    assert "document 3: port blue/b: address 10.0.0.5 is port blue/a's on blue/web" in words


def test_a_floating_address_of_another_tenant_stays_there() -> None:
    there = known(network(), parse_document(encode_document(floating()) | {"tenant": "green"}))
    assert "floating 192.0.2.7 is tenant green's" in refusal(wanted(floating()), there, Conflict)


def test_routes_are_checked_against_the_networks() -> None:
    def route(subnet: str, via: str) -> dict[str, Any]:
        return {"routes": [{"subnet": subnet, "via": via}]}

    there = known(network(), router("web", name="other", **route("172.16.0.0/12", "10.0.0.9")))
    for routes, words in (
        (route("172.16.0.0/12", "10.0.9.9"), "via 10.0.9.9: is on none of its networks (blue/web)"),
        (route("172.17.0.0/16", "10.0.0.1"), "via 10.0.0.1: address 10.0.0.1 is the gateway"),
        (route("10.0.0.128/25", "10.0.0.9"), "is within network blue/web, which the router joins"),
        (route("172.16.0.0/12", "10.0.0.8"), "router blue/other has it via 10.0.0.9"),
    ):
        assert words in refusal(wanted(router("web", **routes)), there, NetError)
    assert steps(wanted(router("web", **route("172.16.0.0/12", "10.0.0.9"))), there) == ["create router:blue/core"]


def test_a_missing_network_is_not_found() -> None:
    refusal(wanted(router("web")), known(), NotFound)


def test_every_problem_of_every_file_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        parse_files(
            {
                "a.yaml": "kind: tenant\nname: B\n---\nkind: router\nname: r\n",
                "b.yaml": "a: 1\na: 2",
                "c.yaml": "kind: tenant\nname: c\n---\nkind: tenant\nname: c\n",
            }
        )
    words = str(caught.value)
    for part in (
        "a.yaml: document 1 (line 1), tenant B: name 'B'",
        "a.yaml: document 2 (line 4), router r: networks: is missing",
        "b.yaml: line 2, column 1: the key 'a' twice",
        "c.yaml: document 2 (line 4): tenant c is in c.yaml: document 1 (line 1) already",
    ):
        assert part in words
    assert "\n" not in words


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n---\n", "[]"])
def test_a_file_of_nothing_is_refused_lest_prune_remove_everything(text: str) -> None:
    with pytest.raises(Invalid, match="there is no document"):
        parse_text(text)


@st.composite
def declared(draw: st.DrawFn) -> dict[str, Object]:
    """A few objects of a tenant that can be together."""
    there = draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, unique=True))
    some = st.lists(st.sampled_from(there), min_size=1, unique=True)
    things: list[Object] = [network(name, f"10.0.{ord(name)}.0/24") for name in there]
    things += [tenant()] if draw(st.booleans()) else []
    things += [port(f"p{n}", draw(st.sampled_from(there))) for n in range(draw(st.integers(0, 2)))]
    things += [router(*draw(some), name=f"r{n}") for n in range(draw(st.integers(0, 2)))]
    things += [policy(*draw(some), name=f"q{n}") for n in range(draw(st.integers(0, 2)))]
    target = draw(st.sampled_from(there))
    things += [floating(network=target, target=f"10.0.{ord(target)}.5")] if draw(st.booleans()) else []
    return {named(thing): thing for thing in things}


@settings(max_examples=300, deadline=None)
@given(declared(), declared())
def test_every_step_can_be_done_when_its_turn_comes(before: dict[str, Object], after: dict[str, Object]) -> None:
    there = known(*before.values(), default=set(before))
    now = dict(before)
    if "tenant:blue" in before:  # which has something, and so cannot go
        after["tenant:blue"] = tenant()
    for step in plan(wanted(*after.values()), there, prune=True):
        if step.verb is Verb.DELETE:
            assert in_use(step.spec, World(now.values())) is None
            del now[step.key]
        else:
            assert problems(step.spec, World(now.values())) == []
            now[step.key] = step.spec
    assert now == after
