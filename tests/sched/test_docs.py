"""docs/units.md tells of every key, prefix and specifier there is, and of none that is not."""

import re
from pathlib import Path

import pytest

from hawser.sched.compile import SECTIONS, compile_unit
from hawser.sched.errors import Invalid
from hawser.sched.model import Announce, Container, Restart, Service
from hawser.sched.unsupported import UNSUPPORTED

TEXT = (Path(__file__).parents[2] / "docs" / "units.md").read_text()


def chapter(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """The tables of a text: what stands in the first cell's code, to the other cells."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {match[1]: row[1:] for row in cells if (match := re.fullmatch(r"`([^`]+)`", row[0]))}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_told_and_none_else(section: str) -> None:
    told = {key.removesuffix("=") for key in rows(chapter(f"[{section}]")) if key.endswith("=")}
    assert told == set(SECTIONS[section])


def test_every_section_has_a_chapter() -> None:
    assert set(re.findall(r"^## \[(.+)\]$", TEXT, re.MULTILINE)) == set(SECTIONS)


def test_every_key_has_a_meaning() -> None:
    for section in SECTIONS:
        told = {key: cells for key, cells in rows(chapter(f"[{section}]")).items() if key.endswith("=")}
        assert [key for key, cells in told.items() if len(cells) != 2 or not cells[0]] == []


def test_the_specifiers_told_are_the_ones_replaced() -> None:
    told = {key[1:] for key in rows(TEXT) if re.fullmatch("%.", key)}
    text = "[Service]\nExecStart=a {}\n"

    def known(letter: str) -> bool:
        try:
            found = compile_unit("a@b.service", text.format(f"x%{letter}"), {"H": "h", "m": "m"})
        except Invalid:
            return False
        return letter == "%" or "%" not in found.command.argv[1]

    assert told == {chr(code) for code in range(33, 127) if known(chr(code))}


def test_the_prefixes_told_are_the_ones_taken() -> None:
    told = {key for key in rows(chapter("[Service]")) if len(key) == 1}
    taken = set()
    for prefix in "-:+@!|*=?":
        try:
            compile_unit("a.service", f"[Service]\nExecStart={prefix}/bin/a\n")
        except Invalid:
            continue
        taken.add(prefix)
    assert told == taken


def test_every_kind_of_restart_is_told() -> None:
    assert set(Restart) <= rows(chapter("[Service]")).keys()


def test_the_defaults_told_are_the_ones_in_force() -> None:
    service = compile_unit("a.service", "[Service]\nExecStart=a\n")
    told = {section: rows(chapter(f"[{section}]")) for section in SECTIONS}
    for section, key, default in (
        ("Unit", "StartLimitIntervalSec", f"{service.start_limit_interval:g} s"),
        ("Unit", "StartLimitBurst", str(service.start_limit_burst)),
        ("Service", "Type", f"`{service.type}`"),
        ("Service", "Restart", f"`{service.restart}`"),
        ("Service", "RestartSec", f"{service.restart_sec * 1000:g} ms"),
        ("Service", "TimeoutStopSec", f"{service.timeout_stop:g} s"),
        ("X-Container", "Tenant", f"`{Container(image='a').tenant}`"),
        ("X-Container", "Network", f"`{Container(image='a').network}`"),
        ("X-Announce", "Check", f"`{Announce(service='a', port=1).check}`"),
        ("X-Announce", "Interval", f"{Announce(service='a', port=1).interval:g} s"),
        ("X-Announce", "TTL", f"{Announce(service='a', port=1).ttl:g} s"),
    ):
        assert told[section][f"{key}="][1] == default, key


def test_the_example_is_a_unit_and_what_is_called_refused_is() -> None:
    example = re.search(r"```ini\n(.*?)```", TEXT, re.DOTALL)
    assert example
    assert isinstance(compile_unit("web@1.service", example[1]), Service)
    refused = set(re.findall(r"`(\w+)=`", chapter("What is refused"))) - {"KillMode"}
    assert refused <= {key for keys in UNSUPPORTED.values() for key in keys}
