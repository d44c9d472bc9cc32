"""Docker's legacy links: what is asked for, the variables, the entries of a hosts file."""

from ipaddress import ip_address

import pytest

from hawser.faults import Fault
from hawser.netd.model import Publish
from hawser.workloads import links
from hawser.workloads.links import Link, Target

DB = Link(name="db", alias="my-db")
FOUR, SIX = ip_address("10.0.0.5"), ip_address("fd00::5")


def test_a_link_is_a_name_and_what_it_is_called() -> None:
    assert links.parse_link("db") == Link(name="db", alias="db")
    assert links.parse_link("db:my-db") == DB


@pytest.mark.parametrize("text", ["", ":", "db:", ":x", "a:b:c", "DB", "db:a b"])
def test_what_is_no_link_is_refused(text: str) -> None:
    with pytest.raises(Fault) as refused:
        links.parse_link(text)
    assert refused.value.kind == "usage"


def test_two_links_have_two_names() -> None:
    with pytest.raises(Fault, match="two links are called db"):
        links.parse_links(["db", "other:db"])


@pytest.mark.parametrize("text", ["0", "65536", "80/sctp", "x", "80-90", "80/TCP"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(Fault):
        links.parse_exposed([text])


def test_labels_keep_links_and_ports() -> None:
    kept = links.labels([DB], links.parse_exposed(["53/udp", "80", "80/tcp"]))
    assert links.links_of(kept) == (DB,)
    assert links.ports_of(kept, [Publish(host_port=8080, port=443)]) == ((53, "udp"), (80, "tcp"), (443, "tcp"))
    assert links.labels([], []) == {}


def test_the_variables_are_docker_s() -> None:
    target = Target(
        addresses=(FOUR, SIX),
        ports=((53, "udp"), (5432, "tcp")),
        env={"PASSWORD": "x=y", "HOME": "/", "PATH": "/bin"},
    )
    assert links.environment(DB, target, "web") == {
        "MY_DB_NAME": "/web/my-db",
        "MY_DB_PORT": "udp://10.0.0.5:53",
        "MY_DB_PORT_53_UDP": "udp://10.0.0.5:53",
        "MY_DB_PORT_53_UDP_ADDR": "10.0.0.5",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_5432_TCP": "tcp://10.0.0.5:5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.0.0.5",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_ENV_PASSWORD": "x=y",
    }


def test_an_ipv6_only_target_has_brackets_in_its_url() -> None:
    target = Target(addresses=(SIX,), ports=((80, "tcp"),), env={})
    assert links.environment(DB, target, "web")["MY_DB_PORT_80_TCP"] == "tcp://[fd00::5]:80"


def test_entries_follow_and_nothing_else_changes() -> None:
    own = "127.0.0.1\tlocalhost\n10.0.0.9 web\n# by hand"
    before = own + "\n" + links.entries(DB, [ip_address("10.0.0.4")])
    after = links.follow(before, {DB: [FOUR, SIX]})
    assert after == own + "\n10.0.0.5\tmy-db\tdb\nfd00::5\tmy-db\tdb\n"
    assert links.follow(after, {DB: [FOUR, SIX]}) == after
    assert links.follow(after, {}) == after


def test_a_link_without_an_alias_has_one_name() -> None:
    assert links.entries(Link(name="db", alias="db"), [FOUR]) == "10.0.0.5\tdb\n"
