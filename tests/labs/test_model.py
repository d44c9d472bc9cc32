"""A topology that cannot work is refused with every reason before anything is built."""

import pytest

from hawser.labs.errors import Invalid
from hawser.labs.model import check_name, natural, topology


@pytest.mark.parametrize(
    ("hosts", "switches", "links", "why"),
    [
        (["h1"], ["s1"], [], "host h1 has no link"),
        (["h1"], ["s1"], [("h1", "s2")], "there is no s2"),
        (["h1", "h2"], [], [("h1", "h2")], "put a switch between"),
        (["h1", "h1"], ["s1"], [("h1", "s1")], "h1 is used 2 times"),
        (["x"], ["x"], [("x", "x")], "x is used 2 times"),
        (["a" * 11], ["s1"], [("a" * 11, "s1")], "longer than the kernel's 15 bytes"),
        (["../up"], ["s1"], [("../up", "s1")], "name '../up'"),
        (["fabric"], ["s1"], [("fabric", "s1")], "cannot be called fabric"),
        ([], ["s1", "s2"], [("s1", "s2"), ("s2", "s1")], "closes a loop"),
        ([], ["s1"], [("s1", "s1")], "closes a loop"),
        ([], [], [], "empty"),
    ],
)
def test_refused(hosts: list[str], switches: list[str], links: list[tuple[str, str]], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        topology(hosts, switches, links)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        topology(["h1", "1x"], ["s1"], [("1x", "s9")])
    assert all(why in str(caught.value) for why in ("name '1x'", "there is no s9", "host h1 has no link"))


@pytest.mark.parametrize(("base", "why"), [("10.0.0.0/31", "do not fit"), ("10.0.0.0/30", "3 hosts"), ("x", "ipbase")])
def test_too_small_a_subnet(base: str, why: str) -> None:
    hosts = ["h1", "h2", "h3"]
    with pytest.raises(Invalid, match=why):
        topology(hosts, ["s1"], [(host, "s1") for host in hosts], ipbase=base)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "x" * 64, "a\nb"])
def test_a_labs_name_is_safe_as_a_directory(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)


def test_natural_order() -> None:
    assert sorted(["h10", "h2", "h1s2", "h1"], key=natural) == ["h1", "h1s2", "h2", "h10"]
