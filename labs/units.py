"""Rates, times and sizes as people write them: `10mbit`, `20ms`, `8m`."""

import re

from .errors import Invalid

NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zµ%]*)")
RATES = {"": 1, "bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def rate(text: str | int) -> int:
    """Bits per second; Invalid."""
    return text if isinstance(text, int) else round(_value("rate", text, RATES, "10mbit, 500kbit, 1gbit"))


def seconds(text: str | float) -> float:
    """Seconds; a text needs a unit. Invalid."""
    return float(text) if isinstance(text, int | float) else _value("delay", text, TIMES, "20ms, 1.5s, 300us")


def percent(text: str | float) -> float:
    """Percent, 0 to 100; Invalid."""
    return float(text) if isinstance(text, int | float) else _value("loss", text, {"": 1.0, "%": 1.0}, "1%, 0.5%")


def size(text: str | int) -> int:
    """Bytes; Invalid."""
    return text if isinstance(text, int) else round(_value("size", text, SIZES, "8m, 512k, 1g"))


def _value(what: str, text: str, units: dict[str, float] | dict[str, int], examples: str) -> float:
    found = NUMBER.fullmatch(text.strip().lower())
    if not found or found[2] not in units:
        raise Invalid(f"{what} {text!r}: write it as {examples}")
    return float(found[1]) * units[found[2]]
