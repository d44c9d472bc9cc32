"""The published schema says what the parser says, as far as a schema can."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from hawser.netd.objects.kinds import Object, encode_document
from hawser.netd.objects.schema import schema

from . import documents
from .stage import things

SCHEMA = json.loads(json.dumps(schema()))
VALIDATOR = Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("plain", documents.GOOD, ids=str)
def test_what_the_parser_takes_is_valid(plain: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(plain)


@pytest.mark.parametrize("plain", [plain for plain, _ in documents.BAD], ids=str)
def test_what_the_parser_refuses_is_not(plain: Any) -> None:
    assert not VALIDATOR.is_valid(plain)


@pytest.mark.parametrize("plain", [plain for plain, _ in documents.PARSER_ONLY], ids=str)
def test_arithmetic_is_left_to_the_parser(plain: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(plain)


@settings(max_examples=200, deadline=None)
@given(things)
def test_what_is_written_is_valid(thing: Object) -> None:
    assert VALIDATOR.is_valid(json.loads(json.dumps(encode_document(thing))))


def keywords(schema: Any) -> Iterator[str]:
    """Every keyword of a schema and of those in it."""
    if isinstance(schema, list):
        for each in schema:
            yield from keywords(each)
    if not isinstance(schema, dict):
        return
    for word, value in schema.items():
        yield word
        if word in ("properties", "$defs"):
            yield from keywords(list(value.values()))
        elif word not in ("enum", "const", "dependentRequired"):
            yield from keywords(value)


def test_it_is_a_schema_and_says_nothing_that_nobody_reads() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    told = {"$schema", "$defs", "title", "description", "then"}  # the last is read with `if`
    assert set(keywords(SCHEMA)) <= set(Draft202012Validator.VALIDATORS) | told


def test_it_names_its_draft_and_every_field_says_what_it_is() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(SCHEMA["$defs"]) == {"tenant", "network", "port", "router", "policy", "floating"}
    for form in SCHEMA["$defs"].values():
        assert all(field.get("description") for name, field in form["properties"].items() if name != "kind")
