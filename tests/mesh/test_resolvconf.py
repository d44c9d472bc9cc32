"""Which resolvers a resolv.conf names."""

from hawser.mesh.resolvconf import parse_resolv_conf


def test_name_servers_in_order_at_most_three_without_what_is_no_address() -> None:
    text = """# nameserver 9.9.9.9
    nameserver 10.0.0.2 # the first
nameserver\tfd00::1
nameserver fe80::1%eth0
nameserver example.org
nameserver
nameserver 10.0.0.2
options ndots:2
nameserver 10.0.0.4
"""
    assert parse_resolv_conf(text) == (("10.0.0.2", 53), ("fd00::1", 53), ("fe80::1%eth0", 53))


def test_a_file_without_any() -> None:
    assert parse_resolv_conf("search example.org\n\0\xff") == ()
