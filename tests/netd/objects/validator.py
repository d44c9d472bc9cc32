"""As much of JSON Schema 2020-12 as the published schema uses; a keyword it does not know is an error."""

import json
import re
from collections.abc import Mapping
from typing import Any

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
WORDS = {"$schema", "$defs", "title", "description"}


def valid(schema: Any, value: Any, root: Any = None) -> bool:
    """Whether a value is valid."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    return all(_holds(word, schema, value, root) for word in schema if word not in WORDS)


def _holds(word: str, schema: Any, value: Any, root: Any) -> bool:
    given = schema[word]

    def of(sub: Any, part: Any = value) -> bool:
        return valid(sub, part, root)

    match word:
        case "$ref":
            return of(root["$defs"][given.removeprefix("#/$defs/")])
        case "type":
            return isinstance(value, TYPES[given]) and (given == "boolean" or not isinstance(value, bool))
        case "enum":
            return value in given
        case "const":
            return bool(value == given)
        case "oneOf":
            return sum(map(of, given)) == 1
        case "anyOf":
            return any(map(of, given))
        case "allOf":
            return all(map(of, given))
        case "not":
            return not of(given)
        case "if":
            return not of(given) or of(schema.get("then", True))
        case "then":
            return True
    if isinstance(value, str):
        match word:
            case "pattern":
                return bool(re.search(given.removesuffix("$") + r"\Z", value))
            case "maxLength":
                return bool(len(value) <= given)
    if isinstance(value, int) and not isinstance(value, bool):
        match word:
            case "minimum":
                return bool(value >= given)
            case "maximum":
                return bool(value <= given)
    if isinstance(value, list):
        match word:
            case "items":
                return all(of(given, each) for each in value)
            case "minItems":
                return bool(len(value) >= given)
            case "uniqueItems":
                return len({json.dumps(each, sort_keys=True) for each in value}) == len(value)
    if isinstance(value, dict):
        match word:
            case "properties":
                return all(of(given[name], each) for name, each in value.items() if name in given)
            case "required":
                return all(name in value for name in given)
            case "additionalProperties":
                return all(of(given, each) for name, each in value.items() if name not in schema.get("properties", {}))
            case "propertyNames":
                return all(of(given, name) for name in value)
            case "minProperties":
                return bool(len(value) >= given)
            case "dependentRequired":
                return all(name not in value or all(need in value for need in needs) for name, needs in given.items())
    known = {"pattern", "maxLength", "minimum", "maximum", "items", "minItems", "uniqueItems", "properties", "required"}
    assert word in known | {"additionalProperties", "propertyNames", "minProperties", "dependentRequired"}, word
    return True
