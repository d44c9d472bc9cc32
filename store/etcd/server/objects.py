"""JSON objects that follow each other in a body, each found as soon as it is whole, however small the pieces are in
which it comes: every byte is looked at once. Pure."""

import json
import re
from collections.abc import Iterator

from ..errors import Code, EtcdError
from .limits import MAX_BODY, MAX_DEPTH

_MARK = re.compile(rb'[{}\[\]"]')
_QUOTED = re.compile(rb'["\\]')


class Objects:
    """Of one body."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = self._depth = 0
        self._quoted = False

    def __len__(self) -> int:
        """Bytes that wait for more."""
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The objects that end here, as text that may still be nonsense. EtcdError."""
        self._data += data
        while (end := self._end()) is not None:
            found = bytes(self._data[:end])
            del self._data[:end]
            self._at = 0
            yield found
        if len(self._data) > MAX_BODY:
            raise EtcdError(Code.INVALID_ARGUMENT, "etcdserver: request is too large")

    def end(self) -> None:
        """Nothing more comes. EtcdError when something is left."""
        if self._data.strip():
            parse(bytes(self._data))
            raise _not_json("an object was expected")

    def _end(self) -> int | None:
        """Of the first object, when it is whole."""
        data = self._data
        while found := (_QUOTED if self._quoted else _MARK).search(data, self._at):
            mark, self._at = found[0], found.end()
            if mark == b"\\":
                self._at += 1
            elif mark == b'"':
                self._quoted = not self._quoted
            elif mark in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
            if self._depth > MAX_DEPTH:
                raise _not_json(f"it is nested more than {MAX_DEPTH} deep")
            if self._depth <= 0:
                if self._quoted or self._depth < 0:
                    raise _not_json("an object was expected")
                return self._at
        self._at = max(self._at, len(data))
        return None


def parse(text: bytes) -> object:
    """EtcdError."""
    try:
        return json.loads(text.decode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise _not_json(str(error)) from None


def _not_json(why: str) -> EtcdError:
    return EtcdError(Code.INVALID_ARGUMENT, f"the body is not JSON: {why}")
