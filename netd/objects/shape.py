"""One description of a written form, from which both its parser and its JSON schema come.

A `Shape` reads a plain value (what JSON and YAML give) at a path, or raises `Wrong` with every problem beneath that
path; its `schema` (draft 2020-12) says the same as far as a schema can. Composite shapes read all of their parts before
they give up. Types are taken strictly: `true` is no number, 5 is no text.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
SHOWN = 60


class Wrong(ValueError):
    """What is wrong with a value: one line a problem, each beginning with its path."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Shape(Generic[T]):
    """`read(value, path)` gives what the value means, or raises Wrong."""

    schema: Mapping[str, Any]
    read: Callable[[object, str], T]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record: what it is, in words, and whether it must be there."""

    shape: Shape[Any]
    about: str
    needed: bool = False


def refusal(path: str, value: object, advice: object) -> Wrong:
    """A single problem: where, what was written there, and what to write."""
    try:
        shown = repr(value)
    except RecursionError:
        shown = "of too many levels"
    return Wrong(f"{path} {shown if len(shown) <= SHOWN else shown[:SHOWN] + '…'}: {advice}")


def text(convert: Callable[[str], T], advice: str, pattern: str = "", **more: Any) -> Shape[T]:
    """A text that `convert` takes; its ValueError is the reason why not."""
    schema = {"type": "string", **({"pattern": f"^{pattern}$"} if pattern else {}), **more}

    def read(value: object, path: str) -> T:
        if not isinstance(value, str) or (pattern and not re.fullmatch(pattern, value, re.ASCII)):
            raise refusal(path, value, advice)
        try:
            return convert(value)
        except ValueError as error:
            raise refusal(path, value, error) from None

    return Shape(schema, read)


def choice(words: Sequence[str], convert: Callable[[str], T]) -> Shape[T]:
    """One of some words."""

    def read(value: object, path: str) -> T:
        if not isinstance(value, str) or value not in words:
            raise refusal(path, value, f"give {', '.join(words[:-1])} or {words[-1]}")
        return convert(value)

    return Shape({"enum": list(words)}, read)


def whole(low: int, high: int) -> Shape[int]:
    """A whole number within bounds, both inclusive."""

    def read(value: object, path: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise refusal(path, value, f"give a number from {low} to {high}")
        return value

    return Shape({"type": "integer", "minimum": low, "maximum": high}, read)


def _flag(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise refusal(path, value, "give true or false")
    return value


FLAG = Shape({"type": "boolean"}, _flag)


def either(number: Shape[T], words: Shape[T]) -> Shape[T]:
    """A number, or a text for the same."""

    def read(value: object, path: str) -> T:
        return (words if isinstance(value, str) else number).read(value, path)

    return Shape({"anyOf": [number.schema, words.schema]}, read)


def nullable(shape: Shape[T]) -> Shape[T | None]:
    """Also null, which is as good as leaving the field out."""

    def read(value: object, path: str) -> T | None:
        return None if value is None else shape.read(value, path)

    return Shape({"anyOf": [shape.schema, {"type": "null"}]}, read)


def items(shape: Shape[T], *, least: int = 0, hint: str = "") -> Shape[tuple[T, ...]]:
    """A list without repetitions, of at least so many; `hint` says what an empty one should have been."""

    def read(value: object, path: str) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise refusal(path, value, "give a list")
        if len(value) < least:
            raise refusal(path, value, hint or f"give at least {least}")
        found: dict[str, T] = {}
        problems: list[str] = []
        for index, one in enumerate(value):
            here = f"{path}[{index}]"
            try:
                read_one = shape.read(one, here)
                if repr(read_one) in found:
                    raise refusal(here, one, "is there twice; leave one out")
                found[repr(read_one)] = read_one
            except Wrong as error:
                problems += error.problems
        if problems:
            raise Wrong(*problems)
        return tuple(found.values())

    schema = {"type": "array", "items": shape.schema, "uniqueItems": True}
    return Shape(schema | ({"minItems": least} if least else {}), read)


def record(build: Callable[[Mapping[str, Any]], T], fields: Mapping[str, Field], **more: Any) -> Shape[T]:
    """A mapping with these fields and no others. `build` gets those that are there, once each of them could be read;
    the paths of problems that it raises (Wrong) begin at the record. `more` are keywords of the schema that say what
    `build` checks."""

    def read(value: object, path: str) -> T:
        if not isinstance(value, Mapping):
            raise refusal(path or "it", value, f"give a mapping with {', '.join(fields)}")
        inner = f"{path}." if path else ""
        known = ", ".join(fields)
        problems = [
            f"{inner}{key}: unknown field; known: {known}" for key in sorted(map(str, set(value) - set(fields)))
        ]
        values: dict[str, Any] = {}
        for name, field in fields.items():
            try:
                if name in value:
                    values[name] = field.shape.read(value[name], inner + name)
                elif field.needed:
                    problems.append(f"{inner}{name}: is missing; {field.about}")
            except Wrong as error:
                problems += error.problems
        if problems:
            raise Wrong(*problems)
        try:
            return build(values)
        except Wrong as error:
            raise Wrong(*(inner + problem for problem in error.problems)) from None

    return Shape(_schema(fields, more), read)


def _schema(fields: Mapping[str, Field], more: Mapping[str, Any]) -> dict[str, Any]:
    needed = [name for name, field in fields.items() if field.needed]
    return {
        "type": "object",
        "properties": {name: {**field.shape.schema, "description": field.about} for name, field in fields.items()},
        **({"required": needed} if needed else {}),
        "additionalProperties": False,
        **more,
    }
