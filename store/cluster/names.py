"""What clusters and machines are called, and how each name is checked.

An id becomes part of a store key, a DNS name in a certificate and a directory, so it is a DNS label (RFC 1123). An
endpoint is where a machine answers: an address or a DNS name, and a port. A check returns its problem in words, so that
whoever reads a record can name all of them at once.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from ..errors import Invalid

Address = IPv4Address | IPv6Address
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ENDPOINT = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<host>[^\s\[\]:/,]+)):(?P<port>[0-9]{1,5})")
HOST = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(\.{LABEL.pattern})*")
CA_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def id_problem(text: str, what: str) -> str | None:
    """Why this is no id of `what`, or None."""
    if LABEL.fullmatch(text):
        return None
    return f"{what} {text!r}: use 1-63 of a-z, 0-9 and -, beginning and ending with a letter or digit"


def hash_problem(text: str) -> str | None:
    """Why this is no hash of a CA's key, or None."""
    return None if CA_HASH.fullmatch(text) else f"CA hash {text!r}: it is sha256: and 64 hexadecimal digits"


def address_problem(text: str) -> str | None:
    """Why this is no IP address in its canonical form, or None."""
    try:
        canonical = str(ip_address(text))
    except ValueError:
        return f"address {text!r}: this is no IP address"
    if "%" in text:
        return f"address {text!r}: leave the scope id out; it means nothing on another machine"
    return None if canonical == text else f"address {text!r}: write it {canonical}"


def endpoint_problem(text: str) -> str | None:
    """Why this is no endpoint, or None."""
    match = ENDPOINT.fullmatch(text)
    if not match:
        return f"endpoint {text!r}: give HOST:PORT, an IPv6 address in brackets"
    if not 0 < int(match["port"]) < 65536:
        return f"endpoint {text!r}: a port is 1-65535"
    host = match["v6"] or match["host"]
    numeric = match["v6"] is not None or re.fullmatch(r"[0-9.]+", host) is not None
    try:
        if numeric:
            ip_address(host)
    except ValueError:
        return f"endpoint {text!r}: {host!r} is no IP address"
    return None if numeric or HOST.fullmatch(host) else f"endpoint {text!r}: {host!r} is no DNS name"


def refuse(what: str, problems: Iterable[str | None]) -> None:
    """Invalid with every problem, when there is one."""
    found = [problem for problem in problems if problem]
    if found:
        raise Invalid(f"{what}: {'; '.join(found)}")
