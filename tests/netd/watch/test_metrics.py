"""The page that Prometheus reads."""

import re
import struct

from hawser.netd.model import Direction
from hawser.netd.policy.nft import DROP, NOBODY
from hawser.netd.watch.metrics import PortSample, render
from hawser.netd.watch.stats import Counters, of_port

LINE = re.compile(r'[a-z_]+\{([a-z]+="([^"\\\n]|\\\\|\\"|\\n)*",?)+\} [0-9]+')


def sample(sandbox: str = "c1", **counters: int) -> PortSample:
    return PortSample(
        tenant="blue", network="web", sandbox=sandbox, ifname="eth0", machine="m1", counters=Counters(**counters)
    )


def test_a_port_has_eight_counters() -> None:
    page = render([sample(receive_bytes=10, transmit_packets=2)])
    labels = '{tenant="blue",network="web",sandbox="c1",ifname="eth0",machine="m1"}'
    assert f"hawser_port_receive_bytes_total{labels} 10\n" in page
    assert f"hawser_port_transmit_packets_total{labels} 2\n" in page
    assert page.count("# TYPE ") == page.count("# HELP ") == page.count(labels) == 8
    assert page.endswith("\n")


def test_families_are_whole_and_samples_in_order() -> None:
    page = render([sample("c2"), sample("c1")])
    lines = page.splitlines()
    assert lines[:2] == [
        "# HELP hawser_port_receive_bytes_total Bytes that came to the port.",
        "# TYPE hawser_port_receive_bytes_total counter",
    ]
    assert ['sandbox="c1"' in line for line in lines[2:4]] == [True, False]
    assert page == render([sample("c1"), sample("c2")])


def test_policies_are_counted_by_rule_and_what_the_default_dropped() -> None:
    counters = {("allow-web", Direction.INGRESS, 0): (3, 180), (NOBODY, Direction.INGRESS, DROP): (1, 60)}
    page = render([], {"blue": counters})
    assert page.splitlines() == [
        "# HELP hawser_policy_packets_total Packets of new connections that a rule of a policy decided.",
        "# TYPE hawser_policy_packets_total counter",
        'hawser_policy_packets_total{tenant="blue",policy="-",direction="ingress",rule="default",verdict="drop"} 1',
        'hawser_policy_packets_total{tenant="blue",policy="allow-web",direction="ingress",rule="0",verdict="allow"} 3',
        "# HELP hawser_policy_bytes_total Bytes of new connections that a rule of a policy decided.",
        "# TYPE hawser_policy_bytes_total counter",
        'hawser_policy_bytes_total{tenant="blue",policy="-",direction="ingress",rule="default",verdict="drop"} 60',
        'hawser_policy_bytes_total{tenant="blue",policy="allow-web",direction="ingress",rule="0",verdict="allow"} 180',
    ]


def test_values_are_escaped() -> None:
    page = render([sample('a"b\\c\nd')])
    assert 'sandbox="a\\"b\\\\c\\nd"' in page
    assert all(LINE.fullmatch(line) for line in page.splitlines() if not line.startswith("#"))


def test_nothing_to_tell_is_an_empty_page() -> None:
    assert render([]) == ""


def test_what_the_host_end_sends_the_port_receives() -> None:
    assert of_port(struct.pack("=24Q", *range(24))) == Counters(
        receive_packets=1,
        receive_bytes=3,
        receive_errors=5,
        receive_dropped=7,
        transmit_packets=0,
        transmit_bytes=2,
        transmit_errors=4,
        transmit_dropped=6,
    )
