"""One line of a container's log, in the form the field uses (Kubernetes CRI): `TIME STREAM F|P TEXT`.

`F` ends a line, `P` is a piece of a line longer than 16 KiB, so any output, binary too, costs bounded memory. The text
is kept as bytes. Pure, and imports nothing: the shims live with it.
"""

PIECE = 16384


def encode(time: str, stream: str, text: bytes, *, full: bool) -> bytes:
    """One record; `text` holds no newline."""
    return b"%s %s %s %s\n" % (time.encode(), stream.encode(), b"F" if full else b"P", text)


def decode(record: bytes) -> tuple[str, str, bool, bytes] | None:
    """Time, stream, whether it ends its line, text; None for what is no record (the torn end of a crash)."""
    parts = record.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr") or parts[2] not in (b"F", b"P"):
        return None
    return parts[0].decode(errors="replace"), parts[1].decode(), parts[2] == b"F", parts[3]


class Splitter:
    """Cuts one stream's bytes into records."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._rest = b""

    def feed(self, data: bytes, time: str) -> bytes:
        """The records that `data` completes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        out = [self._line(line, time) for line in lines]
        while len(self._rest) >= PIECE:
            out.append(encode(time, self.stream, self._rest[:PIECE], full=False))
            self._rest = self._rest[PIECE:]
        return b"".join(out)

    def end(self, time: str) -> bytes:
        """What the stream left without a newline, as a line."""
        rest, self._rest = self._rest, b""
        return encode(time, self.stream, rest, full=True) if rest else b""

    def _line(self, line: bytes, time: str) -> bytes:
        out = b""
        while len(line) > PIECE:
            out += encode(time, self.stream, line[:PIECE], full=False)
            line = line[PIECE:]
        return out + encode(time, self.stream, line, full=True)
