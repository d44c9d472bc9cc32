"""What callers write for sizes, ports and volumes, and what they are told when they miswrite."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawser.faults import Fault
from hawser.netd.model import Publish
from hawser.runtime.model import Mount
from hawser.workloads.model import check_name, parse_publish, parse_size, parse_volume


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("64M", 64 << 20), ("1.5G", 3 << 29), ("2k", 2048), ("1GiB", 1 << 30), ("7MB", 7 << 20)],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", "1X", "1 2", "1e9", "one"])
def test_a_miswritten_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(Fault, match="size") as caught:
        parse_size(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "publish"),
    [
        ("8080:80", Publish(host_port=8080, port=80)),
        ("53:53/udp", Publish(host_port=53, port=53, proto="udp")),
        ("127.0.0.1:1:2/tcp", Publish(host_port=1, port=2, host_ip=ip_address("127.0.0.1"))),
        ("[::1]:1:2", Publish(host_port=1, port=2, host_ip=ip_address("::1"))),
    ],
)
def test_published_ports(text: str, publish: Publish) -> None:
    assert parse_publish(text) == publish


@given(
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(["tcp", "udp"]),
    st.none() | st.ip_addresses(),
)
def test_a_published_port_reads_back_what_it_prints(host: int, port: int, proto: str, address: object) -> None:
    publish = Publish(host_port=host, port=port, proto=proto, host_ip=address)  # type: ignore[arg-type]
    assert parse_publish(str(publish)) == publish


@pytest.mark.parametrize(
    "text", ["80", "0:80", "80:65536", "a:b", "1:2/icmp", "::1:80:80", "1.2.3:1:2", "300.0.0.1:1:2"]
)
def test_a_miswritten_port_is_a_usage_error(text: str) -> None:
    with pytest.raises(Fault, match="publish") as caught:
        parse_publish(text)
    assert caught.value.exit_code == 2


def test_volumes() -> None:
    assert parse_volume("/a:/b") == Mount(source="/a", target="/b")
    assert parse_volume("/a:/b:ro") == Mount(source="/a", target="/b", read_only=True)


@pytest.mark.parametrize("text", ["/a", "a:/b", "/a:/b:rx", "/a:/b:ro:z", ""])
def test_a_miswritten_volume_is_a_usage_error(text: str) -> None:
    with pytest.raises(Fault, match="volume"):
        parse_volume(text)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "A", "x" * 64, "a\n", "ä"])
def test_names_that_would_confuse_are_refused(name: str) -> None:
    with pytest.raises(Fault, match="name"):
        check_name(name)
