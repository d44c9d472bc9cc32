"""The grammar of unit files (systemd.syntax(7))."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.sched import unitfile
from hawser.sched.errors import Invalid
from hawser.sched.unitfile import Entry, Section, UnitFile


def entries(text: str) -> list[tuple[str, str, int]]:
    return [(e.key, e.value, e.line) for section in unitfile.parse(text).sections for e in section.entries]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[S]\nA=1\n", [("A", "1", 2)]),
        ("[S]\n  A =  1 2  \n", [("A", "1 2", 2)]),
        ("# c\n; c\n[S]\n\nA=#no comment\n", [("A", "#no comment", 5)]),
        ("[S]\nA=1\\\n  2\\\n# between\n; these\n  3\nB=4", [("A", "1 2 3", 2), ("B", "4", 7)]),
        ("[S]\nA=1\\", [("A", "1", 2)]),
        ("[S]\nA=1\\\n\nB=2\n", [("A", "1", 2), ("B", "2", 4)]),
        ("[S]\nA=\\\\\nB=1\n", [("A", "\\\\", 2), ("B", "1", 3)]),
        ("[S]\nA=1\nA=\nA=2\n", [("A", "1", 2), ("A", "", 3), ("A", "2", 4)]),
        ("[S]\r\nA=1\\\r\n2\r\n", [("A", "1 2", 2)]),
        ("\ufeff[S]\nA=b=c\n", [("A", "b=c", 2)]),
    ],
)
def test_assignments(text: str, wanted: list[tuple[str, str, int]]) -> None:
    assert entries(text) == wanted


def test_sections_repeat_and_are_read_as_one() -> None:
    file = unitfile.parse("[A]\nX=1\n[B]\n[A]\nX=2\n")
    assert [section.name for section in file.sections] == ["A", "B", "A"]
    assert [entry.value for entry in file.entries("A")] == ["1", "2"]


def test_every_problem_is_told_with_its_line() -> None:
    with pytest.raises(Invalid) as caught:
        unitfile.parse("A=1\n[S]\nnonsense\n[S\n=x\nB=\0\n", "a.service")
    assert [problem.line for problem in caught.value.problems] == [1, 3, 4, 5, 6]
    assert str(caught.value).startswith("a.service: line 1: 'A=1' stands before any [Section]; line 3: 'nonsense' is")
    assert "\n" not in str(caught.value)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(Invalid, match="may have"):
        unitfile.parse("#" * (unitfile.MAX_TEXT + 1))


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), max_size=12).map(
    lambda text: text.strip(" \t")
)
KEY = WORD.filter(lambda text: text and text[0] not in "[#;" and "=" not in text)
TITLE = st.text("abcXYZ-]", min_size=1, max_size=8)


@given(
    st.lists(st.builds(Section, TITLE, st.lists(st.builds(Entry, KEY, WORD), max_size=4).map(tuple)), max_size=4).map(
        lambda sections: UnitFile(tuple(sections))
    )
)
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read_back(file: UnitFile) -> None:
    assert unitfile.parse(unitfile.format(file)) == file


@given(st.text(st.sampled_from("[S]=\\\n#; aB"), max_size=40))
@settings(max_examples=80, deadline=None)
def test_whatever_is_accepted_can_be_written(text: str) -> None:
    try:
        file = unitfile.parse("[S]\n" + text)
    except Invalid:
        return
    assert unitfile.parse(unitfile.format(file)) == file


@pytest.mark.parametrize("value", ["a\nb", "a\0", " a"])
def test_what_no_text_can_hold_is_not_written(value: str) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        unitfile.format(UnitFile((Section("S", (Entry("A", value),)),)))
