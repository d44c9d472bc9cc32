"""The operator's page says what the forms are."""

import re
from pathlib import Path

import pytest

from hawser.netd.objects.document import parse_text
from hawser.netd.objects.kinds import KINDS

PAGE = (Path(__file__).parents[3] / "docs" / "networks.md").read_text()


@pytest.mark.parametrize("word", KINDS)
def test_the_table_of_fields_has_exactly_the_form_s(word: str) -> None:
    row = re.search(rf"^\| `{word}` \| (.*`name`.*|.*`address`.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    told = re.findall(r"`(\w+)`(\*?)", re.sub(r" \([^)]*\)", "", row[1]))
    schema = KINDS[word].form.schema
    assert [name for name, _ in told] == list(schema["properties"])
    assert [name for name, star in told if star] == schema["required"]


def test_its_documents_are_read() -> None:
    written = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert written
    for text in written:
        assert parse_text(text)
