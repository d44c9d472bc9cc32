"""A unit's words in the words of the packages that act on them."""

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawser.netd.model import Publish
from hawser.runtime.model import Mount
from hawser.sched import model as sched
from hawser.sched.compile import compile_unit
from hawser.workloads.translate import instance_id, mounts, problems, publish


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


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("[X-Container]\nImage=a\nCPUs=0.005\n", "0.01 cores"),
        ("[X-Container]\nImage=a\nMemory=1K\n", "4 MiB"),
        ("[X-Container]\nImage=a\nTenant=Blue Team\n", "[X-Container] Tenant="),
        ("[X-Container]\nImage=a\nNetwork=a/b\n", "[X-Container] Network="),
        ("[X-Announce]\nPort=80\nTTL=0.5\n", "[X-Announce] TTL="),
        ("[X-Announce]\nPort=80\nInterval=0.01\n", "[X-Announce] Interval="),
        (f"[X-Announce]\nPort=80\nService={'x' * 63}\n", "[X-Announce] Service="),
        ("[X-Announce]\nPort=80\nCheck=http:relative\n", "Check="),
    ],
)
def test_what_would_fail_at_the_start_is_known_before(lines: str, words: str) -> None:
    text = f"[Service]\nExecStart=/bin/true\n{lines}"
    try:
        found = problems(compile_unit("web.service", text))
    except Exception as error:
        found = [str(error)]
    assert words in "; ".join(found)


def test_a_sound_unit_has_no_problems() -> None:
    text = "[Service]\nExecStart=/bin/true\n[X-Container]\nImage=a\nPublish=80:80\n[X-Announce]\nPort=80\n"
    assert problems(compile_unit("web.service", text)) == []
