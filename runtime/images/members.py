"""What a tarball's member may be; pure, and strict.

The extractor runs confined to the layer's directory, so nothing here is the only guard; but a tarball that tries to
climb out is refused whole, with its name, instead of being bent into shape.
"""

NAME_MAX = 255
PATH_MAX = 4095
ID_RANGE = 65536


def problem(name: str, linkname: str = "", *, hardlink: bool = False) -> str | None:
    """Why a member is refused, or None. Symbolic links may point anywhere: they are read inside the container."""
    for text, what in ((name, "member"), (linkname if hardlink else "", "hard link")):
        if text.startswith("/"):
            return f"{what} {text!r} has an absolute path"
        parts = text.split("/")
        if ".." in parts:
            return f"{what} {text!r} climbs out of its root"
        if "\0" in text or len(text.encode(errors="surrogateescape")) > PATH_MAX:
            return f"{what} {text[:40]!r}... has an impossible path"
        if any(len(part.encode(errors="surrogateescape")) > NAME_MAX for part in parts):
            return f"{what} {text[:40]!r}... has a name longer than {NAME_MAX} bytes"
    return None


def owner_problem(name: str, uid: int, gid: int) -> str | None:
    """Why a member's owner is refused: outside the container's 65,536 ids the shift would lead to somebody else's."""
    if 0 <= uid < ID_RANGE and 0 <= gid < ID_RANGE:
        return None
    return f"member {name!r} belongs to {uid}:{gid}; ids go from 0 to {ID_RANGE - 1}"


def clean(name: str) -> str:
    """The path relative to the root: `./usr//bin/` is `usr/bin`, the root itself is empty."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
