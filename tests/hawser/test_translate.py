"""A unit's words in the words of the packages that act on them."""

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawser.netd.model import Publish
from hawser.runtime.model import Mount
from hawser.sched import model as sched
from hawser.workloads.translate import instance_id, mounts, publish


@pytest.mark.parametrize(
    ("unit", "label"),
    [("web@1.service", "web-1"), ("data.service", "data"), ("Big_One.service", "big-one"), ("a.b.service", "a-b")],
)
def test_a_unit_has_a_readable_label(unit: str, label: str) -> None:
    assert instance_id(unit) == label


@given(st.text(max_size=300))
def test_any_unit_has_a_valid_dns_label(unit: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", instance_id(f"{unit}.service"))


def test_ports_and_volumes_keep_their_meaning() -> None:
    container = sched.Container(
        image="base",
        publish=(sched.Publish(host_port=1, port=2, proto="udp", host_ip="127.0.0.1"),),
        volumes=(sched.Volume(source="/a", target="/b", read_only=True),),
    )
    assert publish(container) == (Publish(host_port=1, port=2, proto="udp", host_ip=ip_address("127.0.0.1")),)
    assert mounts(container) == (Mount(source="/a", target="/b", read_only=True),)
