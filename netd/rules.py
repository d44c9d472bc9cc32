"""nftables tables whose chains are fixed for a while, over sets and maps whose elements come and go.

So an attachment costs a few element updates, whatever the number of containers (nft(8), maps). A table's name is its
ownership mark, and a chain's name tells the version of its chains, so that another version is seen and made anew: in
one transaction, with its elements, no moment without. What a set or map is called decides in which table it is: those
of the bridge family begin with `frame_`.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from .errors import NetError

Element = tuple[str, str, str | None]
WORD = re.compile(r"[0-9A-Za-z_.:/-]+( \. [0-9A-Za-z_.:/-]+)*")
PROTOCOLS = {"6": "tcp", "17": "udp"}
FRAMES = "frame_"
# a table's text is parted here: inet before, bridge after
PARTED = "\n---\n"


def table(instance: str) -> str:
    """The tables' name, which is their ownership mark."""
    return f"hawser_{instance}"


def version(chains: str) -> str:
    """What tells these chains from others."""
    return hashlib.sha256(chains.encode()).hexdigest()[:12]


def create(instance: str, chains: str, elements: Iterable[Element] = ()) -> str:
    """Commands that make the tables anew with these elements, whatever was there: one transaction."""
    name, mark = table(instance), version(chains)
    inet, _, frames = chains.partition(PARTED)
    text = ""
    for family, body in (("inet", inet), ("bridge", frames)):
        if body:
            text += f"table {family} {name}\ndelete table {family} {name}\n"
            text += f"table {family} {name} {{{body}  chain version_{mark} {{ }}\n}}\n"
    return text + add(instance, elements)


def delete(instance: str, family: str = "inet") -> str:
    """Commands that remove one table."""
    return f"delete table {family} {table(instance)}\n"


def add(instance: str, elements: Iterable[Element]) -> str:
    """Commands that add elements. NetError when one is made of more than names, numbers and addresses."""
    return "".join(
        f"add element {_family(name)} {table(instance)} {name} {{ {element}{f' : {value}' if value else ''} }}\n"
        for name, element, value in map(_plain, elements)
    )


def remove(instance: str, elements: Iterable[Element]) -> str:
    """Commands that delete elements. NetError as in `add`."""
    return "".join(
        f"delete element {_family(name)} {table(instance)} {name} {{ {element} }}\n"
        for name, element, _ in map(_plain, elements)
    )


def _family(name: str) -> str:
    return "bridge" if name.startswith(FRAMES) else "inet"


def _plain(element: Element) -> Element:
    """The last guard before a text becomes commands to the kernel; what is asked for was parsed long before."""
    for text in element:
        if text is not None and not WORD.fullmatch(text):
            raise NetError(f"nftables element {element!r} holds more than names, numbers and addresses; not done")
    return element


def observed(objects: Iterable[dict[str, Any]]) -> tuple[str, list[Element]]:
    """Version and elements of a table, from libnftables-json(5)."""
    found, elements = "", list[Element]()
    for entry in objects:
        if "chain" in entry and entry["chain"]["name"].startswith("version_"):
            found = entry["chain"]["name"].removeprefix("version_")
        for kind in ("set", "map"):
            about = entry.get(kind, {})
            if "timeout" not in about.get("flags", ()):  # packets fill those
                elements += [_element(about["name"], element) for element in about.get("elem", ())]
    return found, elements


def _element(name: str, element: Any) -> Element:
    key, value = (element[0], _text(element[1])) if isinstance(element, list) else (element, None)
    text = _text(key)
    if name[:4] in ("any4", "any6", "one4", "one6"):
        # listed by number: whether nft knows a protocol's name depends on the machine's /etc/protocols
        *host, proto, port = text.split(" . ")
        text = " . ".join((*host, PROTOCOLS.get(proto, proto), port))
    if name == "frame_nd6":  # a number, listed without the zeros before it
        ifname, number = text.split(" . ")
        text = f"{ifname} . {int(number, 16):#034x}"
    return name, text, value


def _text(value: Any) -> str:
    if isinstance(value, dict) and "concat" in value:
        return " . ".join(_text(part) for part in value["concat"])
    if isinstance(value, dict) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if isinstance(value, dict) and "range" in value:
        return "-".join(_text(end) for end in value["range"])
    if isinstance(value, dict) and "elem" in value:
        return _text(value["elem"]["val"])
    return str(value)
