"""Values as systemd writes them: time spans, booleans, sizes, signals (systemd.syntax(7), systemd.time(7))."""

import re
import signal as signals

from .words import Malformed

INFINITY = float("inf")
_UNITS: dict[str, float] = {}
for _names, _seconds in (
    ("us usec µs μs", 1e-6),
    ("ms msec", 1e-3),
    ("s sec second seconds", 1.0),
    ("m min minute minutes", 60.0),
    ("h hr hour hours", 3600.0),
    ("d day days", 86400.0),
    ("w week weeks", 604800.0),
):
    _UNITS |= dict.fromkeys(_names.split(), _seconds)
_SPAN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]*)\s*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?")


def seconds(value: str) -> float:
    """`5min 20s`, `100ms`, a bare number of seconds, or `infinity`."""
    if value.strip() == "infinity":
        return INFINITY
    total, at = 0.0, 0
    while at < len(value):
        match = _SPAN.match(value, at)
        if match is None or (match[2] and match[2] not in _UNITS):
            break
        total += float(match[1]) * _UNITS.get(match[2], 1.0)
        at = match.end()
    if not value.strip() or at < len(value):
        raise Malformed(f"{value!r} is no time span; write for example 5, 100ms or 1min 30s")
    return total


def boolean(value: str) -> bool:
    """1/yes/y/true/t/on or 0/no/n/false/f/off, in any case."""
    low = value.lower()
    if low in ("1", "yes", "y", "true", "t", "on"):
        return True
    if low in ("0", "no", "n", "false", "f", "off"):
        return False
    raise Malformed(f"{value!r} is neither yes nor no")


def size(value: str) -> int:
    """Bytes, with K, M, G or T to the base 1024."""
    match = _SIZE.fullmatch(value.strip().upper())
    if match is None:
        raise Malformed(f"{value!r} is no size; write for example 512M")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2] or " "))


def number(value: str, low: float, high: float) -> float:
    """A number in [low, high]."""
    try:
        result = float(value)
    except ValueError:
        raise Malformed(f"{value!r} is no number") from None
    if not low <= result <= high:
        raise Malformed(f"{value!r} is not between {low:g} and {high:g}")
    return result


def integer(value: str, low: int, high: int) -> int:
    """A whole number in [low, high]."""
    if not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        raise Malformed(f"{value!r} is no whole number")
    return int(number(value, low, high))


def signal(value: str) -> int:
    """`SIGTERM`, `TERM` or a number."""
    if re.fullmatch(r"\d{1,2}", value, re.ASCII) and 1 <= int(value) <= 64:
        return int(value)
    name = value if value.startswith("SIG") else f"SIG{value}"
    found = signals.Signals.__members__.get(name)
    if found is None:
        raise Malformed(f"{value!r} is no signal; write for example SIGTERM")
    return int(found)


def signal_name(number: int) -> str:
    """`SIGKILL`, or `signal 60`."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
