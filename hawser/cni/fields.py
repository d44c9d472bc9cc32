"""Typed looks into a JSON object: what is not as it should be is noted with its path, and read as if it were not there.

A value `null` counts as not given, as Go's decoders have it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any


class Fields:
    """An object's fields; `problems` is shared by all that belong to one document."""

    def __init__(self, plain: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self.plain = plain
        self._path = path
        self.problems = problems

    def __contains__(self, key: str) -> bool:
        return self.plain.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain)

    def wrong(self, key: str, advice: str) -> None:
        """Note that a field is wrong."""
        self.problems.append(f"{self._path}{key} {short(self.plain.get(key))}: {advice}")

    def text(self, key: str, pattern: "re.Pattern[str] | None" = None, advice: str = "give text") -> str | None:
        """A text that matches the pattern; None when it is not given or empty."""
        value = self.plain.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, str) and (pattern is None or pattern.fullmatch(value)):
            return value
        self.wrong(key, advice)
        return None

    def number(self, key: str, low: int, high: int) -> int | None:
        """A whole number of a range."""
        value = self.plain.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.wrong(key, f"give {low}-{high}")
        return None

    def inner(self, key: str) -> "Fields":
        """An object; an empty one when it is not given."""
        value = self.plain.get(key)
        if value is not None and not isinstance(value, dict):
            self.wrong(key, "give an object")
            value = None
        return Fields(value or {}, f"{self._path}{key}.", self.problems)

    def whole(self, key: str) -> Mapping[str, Any] | None:
        """An object as it is; None when it is not given."""
        return self.inner(key).plain if key in self else None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.plain.get(key)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(one, str) and one for one in value):
            return tuple(value)
        self.wrong(key, "give a list of texts")
        return ()

    def mapping(self, key: str) -> dict[str, str]:
        """An object of texts."""
        inner = self.inner(key).plain
        if all(isinstance(value, str) for value in inner.values()):
            return dict(inner)
        self.wrong(key, "give texts by name")
        return {}

    def entries(self, key: str) -> tuple["Fields", ...]:
        """A list of objects."""
        value = self.plain.get(key)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            return tuple(Fields(one, f"{self._path}{key}[{n}].", self.problems) for n, one in enumerate(value))
        self.wrong(key, "give a list of objects")
        return ()


def short(value: object) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
