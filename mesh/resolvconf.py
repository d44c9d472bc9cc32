"""The name servers in a resolv.conf(5). Pure."""

from ipaddress import ip_address

Upstream = tuple[str, int]
SERVERS_MAX = 3  # MAXNS of resolv.h


def parse_resolv_conf(text: str) -> tuple[Upstream, ...]:
    """Address and port of each `nameserver` line that names an IP address, at most three, as the C library does."""
    found = list[Upstream]()
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            ip_address(words[1])
        except ValueError:
            continue
        found.append((words[1], 53))
    return tuple(dict.fromkeys(found))[:SERVERS_MAX]
