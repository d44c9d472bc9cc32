"""The words of the forms: names, addresses, rates, port ranges, labels, each as a shape."""

import re
from collections.abc import Mapping
from ipaddress import ip_interface, ip_network

from ..errors import Invalid
from ..model import Address, Interface, Subnet
from ..parse import LABEL, MAPPED, check_labels, parse_address, parse_mac, plain_address
from .shape import Shape, either, refusal, text, whole

NAME = "use 1-63 of a-z, 0-9 and -, beginning and ending with a letter or digit"
RATE = re.compile(r"([0-9]+)([kmg]?)bit", re.IGNORECASE)
FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
RATE_MIN, RATE_MAX = 8000, 10**12
PORT_MAX = 65535
DIGITS = "[0-9a-fA-F:.]+"

NAMED = text(str, NAME, LABEL.pattern)


def _network(value: object, path: str) -> str:
    if isinstance(value, str) and "/" in value:
        raise refusal(path, value, "networks are of the object's own tenant; give the name alone")
    return NAMED.read(value, path)


NETWORK = Shape(NAMED.schema, _network)


def _subnet(written: str) -> Subnet:
    subnet = ip_network(written)
    if subnet.version == 6 and subnet.overlaps(MAPPED) and subnet.prefixlen >= MAPPED.prefixlen:
        raise ValueError("these are IPv4 addresses; write them as such")
    return subnet


def _interface(written: str) -> Interface:
    """An address, with the prefix length of its subnet or the longest there is: none was given."""
    address, slash, length = written.partition("/")
    return ip_interface(f"{parse_address(address)}{slash}{length}")


def _mac(written: str) -> str:
    try:
        return parse_mac(written)
    except Invalid as error:
        raise ValueError(str(error).partition(": ")[2]) from None


def _outside(written: str) -> Address:
    address = parse_address(written)
    if address.is_loopback or address.is_multicast or address.is_unspecified or address.is_link_local:
        raise ValueError("it has a meaning of its own; give one that leads to these machines")
    return plain_address(address)


ADDRESS: Shape[Address] = text(parse_address, "give an address, like 10.0.0.1 or fd00::1", DIGITS)
OUTSIDE: Shape[Address] = text(_outside, "give an address, like 192.0.2.1 or 2001:db8::1", DIGITS)
INTERFACE: Shape[Interface] = text(_interface, "give an address, like 10.0.0.5 or fd00::5", f"{DIGITS}(/[0-9]{{1,3}})?")
SUBNET: Shape[Subnet] = text(ip_network, "give a subnet, like 10.0.0.0/24", f"{DIGITS}/[0-9]{{1,3}}")
CIDR: Shape[Subnet] = text(_subnet, "give a subnet or an address, like 10.0.0.0/8", f"{DIGITS}(/[0-9]{{1,3}})?")
OCTET = "[0-9a-f]{2}"
MAC = text(_mac, "give six octets, like 02:00:00:00:00:01", f"{OCTET}(:{OCTET}){{5}}")


def _labels(value: object, path: str) -> Mapping[str, str]:
    try:
        return check_labels(value)
    except Invalid as error:
        raise refusal(path, value, error) from None


LABEL_TEXT = {"type": "string", "maxLength": 255}
LABELS: Shape[Mapping[str, str]] = Shape(
    {"type": "object", "propertyNames": {"maxLength": 255}, "additionalProperties": LABEL_TEXT}, _labels
)


def parse_rate(written: str) -> int:
    """`10kbit`, `10mbit`, `1gbit` or `8000bit` in bit/s. ValueError."""
    match = RATE.fullmatch(written)
    rate = int(match[1]) * FACTORS[match[2].lower()] if match and len(match[1]) < 16 else 0
    if not RATE_MIN <= rate <= RATE_MAX:
        raise ValueError(f"give {RATE_MIN} to {RATE_MAX} bit/s, like 10mbit")
    return rate


RATES = either(
    whole(RATE_MIN, RATE_MAX),
    text(parse_rate, "give bit/s as a number, or like 500kbit, 10mbit, 1gbit", "[0-9]+[kKmMgG]?[bB][iI][tT]"),
)


def parse_range(written: str) -> tuple[int, int]:
    """`80` or `8000-8100` as first and last. ValueError."""
    first, _, last = written.partition("-")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= PORT_MAX:
        raise ValueError(f"give ports from 1 to {PORT_MAX}, the lower first")
    return low, high


_one = whole(1, PORT_MAX)
RANGE: Shape[tuple[int, int]] = either(
    Shape(_one.schema, lambda value, path: (_one.read(value, path),) * 2),
    text(parse_range, "give a port, or a range like 8000-8100", "[0-9]{1,5}(-[0-9]{1,5})?"),
)
