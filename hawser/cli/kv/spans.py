"""Times as Go's programs, and so etcd, write them: 1h30m, 90s, 500ms (Go, time.ParseDuration)."""

import re

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = r"(\d+(?:\.\d+)?)(h|ms|m|s)"


def seconds(text: str) -> float | None:
    """A time in seconds, or None."""
    if not re.fullmatch(f"(?:{_PART})+", text):
        return None
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(_PART, text))
