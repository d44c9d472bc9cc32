"""What port security dropped, by the port's host end: the elements of the set that the packets fill themselves."""

from collections.abc import Iterable
from typing import Any

SET = "frame_refused"


def refused(objects: Iterable[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """(packets, bytes) by host end, from libnftables-json(5) of the set."""
    found: dict[str, tuple[int, int]] = {}
    for entry in objects:
        for element in entry.get("set", {}).get("elem", ()) if entry.get("set", {}).get("name") == SET else ():
            one = element["elem"]
            found[one["val"]] = one["counter"]["packets"], one["counter"]["bytes"]
    return found
