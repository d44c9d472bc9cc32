"""The JSON schema of documents (draft 2020-12), made from the forms that also read them.

It says of each document what can be said of it alone and without arithmetic; the node refuses more (host bits in a
subnet, networks that are not there).
"""

from typing import Any

from .kinds import KINDS

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema of one document of `hawser apply`."""
    return {
        "$schema": DRAFT,
        "title": "hawser: tenant networks",
        "description": "One object of a tenant's networks, as `hawser apply` takes it.",
        "oneOf": [{"$ref": f"#/$defs/{word}"} for word in KINDS],
        "$defs": {word: _document(word) for word in KINDS},
    }


def _document(word: str) -> dict[str, Any]:
    form = dict(KINDS[word].form.schema)
    form["properties"] = {"kind": {"const": word}, **form["properties"]}
    form["required"] = ["kind", *form.get("required", ())]
    return form
