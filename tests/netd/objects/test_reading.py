"""Texts: YAML and JSON read strictly, without the surprises of either."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.netd.objects.reading import LONGEST, documents
from hawser.netd.objects.shape import Wrong


def plains(text: str) -> list[object]:
    return [document.plain for document in documents(text)]


def problem(text: str) -> str:
    with pytest.raises(Wrong) as caught:
        documents(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_documents_are_counted_and_their_lines_told() -> None:
    text = "# a comment\nkind: a\n---\n---\nkind: b\n"
    assert [(each.where, each.plain) for each in documents(text)] == [
        ("document 1 (line 2)", {"kind": "a"}),
        ("document 2 (line 5)", {"kind": "b"}),
    ]


def test_a_list_is_as_many_documents() -> None:
    assert plains("- a: 1\n- b: 2\n") == [{"a": 1}, {"b": 2}]
    assert plains('[{"a": 1}, {"b": 2}]') == [{"a": 1}, {"b": 2}]


def test_json_is_read_also_with_tabs_and_in_several_documents() -> None:
    assert plains('{\n\t"a": "\\/"\n}') == [{"a": "/"}]
    assert plains('{"a": 1}\n---\n{"b": [true, null]}\n') == [{"a": 1}, {"b": [True, None]}]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("10:20:30:40:50:01", "10:20:30:40:50:01"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("8000-8100", "8000-8100"),
        ("10mbit", "10mbit"),
        ("fd00::1", "fd00::1"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("80", 80),
        ("-1", -1),
        ("1.5", 1.5),
    ],
)
def test_a_word_is_what_it_seems_to_be(text: str, plain: object) -> None:
    assert plains(f"a: {text}") == [{"a": plain}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key 'a' twice"),
        ("a:\n  - b: 1\n    b: 2\n", "line 3, column 5: the key 'b' twice"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' twice"),
        ("a: &x [1]\nb: *x\n", "line 2, column 4: the alias *x; write it out"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("? [a]\n: 1\n", "a key that is no text"),
        ("a: [1\nb: 2", "line 2"),
        ("a: 'x", "line 1"),
        ("\ta: 1", "line 1"),
        ("a: \x01", "no YAML"),
        ("a: !!int x", "invalid literal"),
        ("[" * 5000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        ("a: " + "x" * LONGEST, "divide it"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, words: str) -> None:
    assert words in problem(text)


def test_a_bomb_of_aliases_goes_off_nowhere() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    begun = time.monotonic()
    assert "the alias *a0" in problem("\n".join(lines))
    assert time.monotonic() - begun < 1


def test_merging_is_an_unknown_key_like_any_other() -> None:
    assert plains("<<: {a: 1}") == [{"<<": {"a": 1}}]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(Wrong):
        documents(text)
