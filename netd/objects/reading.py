"""Texts of several documents, YAML or JSON, become plain values, strictly.

YAML's own surprises are left out: `no` and `on` are texts, `10:20` is no number in base 60, `010` no octal one, nothing
is a date (YAML 1.2, core schema, and less). Aliases are refused, since a short text of them means an endless one
(CVE-2003-1564); a key given twice is refused, since one of the two would be lost.
"""

import json
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from .shape import Wrong

LONGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A plain value and where it was: `document 2 (line 14)`, counted from 1."""

    where: str
    plain: Any


class _Loader(yaml.SafeLoader):
    """Plain values only, each key once."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"the alias *{event.anchor}; write it out", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            plain = self.construct_object(key, deep=True)
            if not isinstance(plain, Hashable) or plain in seen:
                what = f"the key {plain!r} twice" if isinstance(plain, Hashable) else "a key that is no text"
                raise yaml.MarkedYAMLError(problem=what, problem_mark=key.start_mark)
            seen.add(plain)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+([eE][-+]?[0-9]+)?", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), _first)


def documents(written: str) -> list[Document]:
    """The documents of a text: YAML's, each a mapping or a list of them; or JSON's, one or a list. Wrong."""
    if len(written) > LONGEST:
        raise Wrong(f"the text has {len(written)} characters, more than {LONGEST}; divide it")
    try:
        found = list(_json(written) if written.lstrip()[:1] in ("{", "[") else _yaml(written))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Wrong(f"{where}{' '.join(str(error.problem or error.context or 'no YAML').split())}") from None
    except yaml.YAMLError as error:
        raise Wrong(f"no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Wrong("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise Wrong(str(error)) from None
    return [Document(where=f"document {n}{line}", plain=plain) for n, (line, plain) in enumerate(found, 1)]


def _yaml(written: str) -> Iterator[tuple[str, Any]]:
    loader = _Loader(written)
    try:
        while loader.check_node():
            node = loader.get_node()
            if isinstance(node, yaml.SequenceNode):
                for each in node.value:
                    yield f" (line {each.start_mark.line + 1})", loader.construct_document(each)
            elif node is not None:
                plain = loader.construct_document(node)
                if plain is not None:  # nothing between two ---
                    yield f" (line {node.start_mark.line + 1})", plain
    finally:
        loader.dispose()


def _json(written: str) -> Iterator[tuple[str, Any]]:
    try:
        plain = json.loads(written, object_pairs_hook=_once)
    except json.JSONDecodeError:
        # flow style, or more than one document
        yield from _yaml(written)
        return
    for each in plain if isinstance(plain, list) else [plain]:
        yield "", each


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Wrong(f"the key {twice!r} twice")
    return found
