"""The quick way to a policy: what is written, depending on what is shut by default."""

import pytest

from hawser.netd.errors import Invalid
from hawser.netd.model import Direction, Peer, Policy, Rule, Selector
from hawser.netd.objects.allow import LONGEST, name_of, parse_peer, policies
from hawser.netd.objects.checks import World
from hawser.netd.objects.kinds import Object
from hawser.netd.parse import LABEL

from .stage import network, tenant

HTTPS = Rule(direction=Direction.INGRESS, proto="tcp", ports=((443, 443),))


def written(
    to: str, *sources: str, world: tuple[Object, ...] = (network(), network("db", "10.0.1.0/24"))
) -> list[Policy]:
    return policies(World(world), "blue", parse_peer(to), [parse_peer(source) for source in sources], HTTPS, "p")


def test_peers_are_networks_labels_and_addresses() -> None:
    assert parse_peer("network=web").ports == Selector(networks=("web",))
    assert parse_peer("network=web,network=db,label=app=x,label=v=").ports == Selector(
        networks=("web", "db"), labels={"app": "x", "v": ""}
    )
    assert str(parse_peer("cidr=10.0.0.0/8").cidr) == "10.0.0.0/8"


@pytest.mark.parametrize(
    "text",
    ["", "web", "network=", "network=green/web", "label=app", "cidr=x", "cidr=::/0,network=web", "cidr=::/0,cidr=::/0"],
)
def test_a_peer_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"^'"):
        parse_peer(text)


def test_the_ingress_of_those_spoken_to_is_opened() -> None:
    (policy,) = written("network=web", "network=db", "cidr=192.0.2.0/24")
    assert policy.applies == Selector(networks=("web",))
    assert policy.directions == (Direction.INGRESS,)
    (rule,) = policy.rules
    assert rule.peers == (Peer(ports=Selector(networks=("db",))), parse_peer("cidr=192.0.2.0/24"))
    assert (rule.proto, rule.ports) == ("tcp", ((443, 443),))


def test_whoever_may_speak_when_nobody_is_named() -> None:
    (policy,) = written("network=web")
    assert policy.rules[0].peers == ()


def test_where_sending_is_denied_by_default_it_is_opened_too() -> None:
    world = (
        tenant(default="deny"),
        network(),
        network("db", "10.0.1.0/24"),
        network("free", "10.0.2.0/24", default="allow"),
    )
    ingress, egress = written("network=web", "network=db,network=free,label=app=x", world=world)
    assert (ingress.name, egress.name) == ("p", "p-egress")
    assert egress.applies == Selector(networks=("db",), labels={"app": "x"})
    assert egress.directions == (Direction.EGRESS,)
    assert egress.rules[0].peers == (Peer(ports=Selector(networks=("web",))),)
    assert len(written("network=web", "network=free", world=world)) == 1
    assert [one.name for one in written("network=web", "network=db", "label=a=b", world=world)] == [
        *("p", "p-egress1", "p-egress2"),
    ]


def test_to_the_outside_the_senders_egress_is_opened() -> None:
    (policy,) = written("cidr=192.0.2.0/24", "network=web")
    assert (policy.name, policy.applies, policy.directions) == ("p", Selector(networks=("web",)), (Direction.EGRESS,))
    with pytest.raises(Invalid, match="give the ports that may send there"):
        written("cidr=192.0.2.0/24", "cidr=10.0.0.0/8")


def test_a_name_is_made_of_what_is_allowed() -> None:
    assert name_of("network=web", ["network=db"], "tcp", ["5432"]) == "allow-web-from-db-tcp-5432"
    assert name_of("label=app=Web", [], None, []) == "allow-app-web"
    long = name_of("network=" + "x" * 63, ["cidr=10.0.0.0/8"] * 5, "tcp", ["1-65535"])
    assert len(long) == LONGEST
    assert LABEL.fullmatch(long)
    assert LABEL.fullmatch(name_of("label=ä=ö", [], None, []))
    assert long != name_of("network=" + "x" * 63, ["cidr=10.0.0.0/8"] * 6, "tcp", ["1-65535"])
