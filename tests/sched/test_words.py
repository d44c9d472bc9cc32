"""Quotes, escapes, specifiers and variables of command lines (systemd.syntax(7), systemd.service(5))."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.sched import environment, values, words
from hawser.sched.words import Malformed


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("a'b c'd", ["ab cd"]),
        ("''", [""]),
        (r"a\x20b \101 \u00e9 \s", ["a b", "A", "é", " "]),
        (r"'it\'s' \\ \n", ["it's", "\\", "\n"]),
        ("", []),
    ],
)
def test_words(value: str, wanted: list[str]) -> None:
    assert words.split(value) == wanted


@pytest.mark.parametrize("value", ["'a", '"', r"\q", "\\", r"\x2", r"\400", r"\x00", r"\uD800", r"\U00110000"])
def test_what_is_malformed_is_refused(value: str) -> None:
    with pytest.raises(Malformed):
        words.split(value)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=4))
@settings(max_examples=80, deadline=None)
def test_quoted_words_are_read_back(argv: list[str]) -> None:
    assert words.split(" ".join(words.quote(word) for word in argv)) == argv


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (["$ONE"], ["1"]),
        (["$LIST"], ["a", "b c", "d"]),
        (["${LIST}"], ["a 'b c' d"]),
        (["-x${ONE}y$ONE"], ["-x1y$ONE"]),
        (["$NONE", "${NONE}"], [""]),
        (["$$ONE", "$${ONE}"], ["$ONE", "${ONE}"]),
        (["$", "$1", "${}"], ["$", "$1", "${}"]),
    ],
)
def test_variables(argv: list[str], wanted: list[str]) -> None:
    assert list(words.expand(argv, {"ONE": "1", "LIST": "a 'b c' d"})) == wanted


def test_specifiers() -> None:
    known = {"n": "web@1.service", "i": "1"}
    assert words.specify("%n/%i/%%/%H", known, known="Hm") == "web@1.service/1/%/%H"
    with pytest.raises(Malformed, match="%t is not supported"):
        words.specify("%t", known)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("5", 5), ("100ms", 0.1), ("1min 30s", 90), ("1h30m", 5400), ("2.5 s", 2.5), ("infinity", float("inf"))],
)
def test_time_spans(value: str, wanted: float) -> None:
    assert values.seconds(value) == pytest.approx(wanted)


@pytest.mark.parametrize("value", ["", "x", "5 parsecs", "-1", "1s x"])
def test_no_time_spans(value: str) -> None:
    with pytest.raises(Malformed):
        values.seconds(value)


def test_environment_files() -> None:
    text = (
        "# c\n; c\nA=1\nB = no\nexport C=two words  \nD='single \\n' # kept\n"
        'E="dou\\"ble\nline"\nF=con\\\ntinued\nA=last\nno assignment\nG='
    )
    assert environment.parse(text) == {
        "A": "last",
        "C": "two words",
        "D": "single \\n # kept",
        "E": 'dou"ble\nline',
        "F": "continued",
        "G": "",
    }
