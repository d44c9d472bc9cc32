"""The published schema says what the parser says, as far as a schema can."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from hawser.netd.objects.kinds import Object, encode_document
from hawser.netd.objects.schema import schema

from . import documents
from .stage import things
from .validator import valid

SCHEMA = json.loads(json.dumps(schema()))


@pytest.mark.parametrize("plain", documents.GOOD, ids=str)
def test_what_the_parser_takes_is_valid(plain: dict[str, Any]) -> None:
    assert valid(SCHEMA, plain)


@pytest.mark.parametrize("plain", [plain for plain, _ in documents.BAD], ids=str)
def test_what_the_parser_refuses_is_not(plain: Any) -> None:
    assert not valid(SCHEMA, plain)


@pytest.mark.parametrize("plain", [plain for plain, _ in documents.PARSER_ONLY], ids=str)
def test_arithmetic_is_left_to_the_parser(plain: dict[str, Any]) -> None:
    assert valid(SCHEMA, plain)


@settings(max_examples=200, deadline=None)
@given(things)
def test_what_is_written_is_valid(thing: Object) -> None:
    assert valid(SCHEMA, json.loads(json.dumps(encode_document(thing))))


def test_it_names_its_draft_and_every_field_says_what_it_is() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(SCHEMA["$defs"]) == {"tenant", "network", "port", "router", "policy", "floating"}
    for form in SCHEMA["$defs"].values():
        assert all(field.get("description") for name, field in form["properties"].items() if name != "kind")
