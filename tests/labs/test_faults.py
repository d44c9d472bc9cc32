"""Faults add up, are repeatable, and heal apart; what makes no sense is refused before anything is touched."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.labs.document import dump_faults, load_faults
from hawser.labs.errors import Invalid, NotFound
from hawser.labs.faults import WHOLE, Faults, Impairment, cut, directions, heal, impair, lines, partition
from hawser.labs.shapes import linear, single

NET = single(4)
ROW = linear(2, 2)
SLOW = Impairment(rate=1_000_000, loss=1.5)


def test_a_direction_is_named_by_who_sends() -> None:
    assert list(directions(NET, "h1")) == ["h1-eth0", "s1-eth1"]
    assert list(directions(NET, "s1", "h1")) == ["s1-eth1", "h1-eth0"]
    assert list(directions(NET, "h1", one_way=True)) == ["h1-eth0"]
    assert list(directions(ROW, "s1", "s2", one_way=True)) == ["s1-eth3"]


def test_two_hosts_are_a_pair_and_a_host_with_its_switch_a_link() -> None:
    assert cut(NET, WHOLE, "h1", "h2").apart == {("h1", "h2"), ("h2", "h1")}
    assert cut(NET, WHOLE, "h1", "h2", one_way=True).apart == {("h1", "h2")}
    assert cut(NET, WHOLE, "h1", "s1").cuts == {"h1-eth0", "s1-eth1"}


def test_a_switch_is_cut_with_all_its_links() -> None:
    assert len(cut(ROW, WHOLE, "s1").cuts) == 6


def test_a_partition_replaces_the_last_one_and_names_who_is_not_heard() -> None:
    now = partition(NET, partition(NET, WHOLE, [["h1"], ["h2"]]), [["h1", "h2"], ["h3"]])
    assert now.deaf() == {"h1": {"h3"}, "h2": {"h3"}, "h3": {"h1", "h2"}}
    assert partition(NET, now, []) == WHOLE


def test_deafness_is_the_sum_of_pairs_and_groups() -> None:
    now = partition(NET, cut(NET, WHOLE, "h1", "h4", one_way=True), [["h1"], ["h2"]])
    assert now.deaf() == {"h1": {"h2", "h4"}, "h2": {"h1"}}


def test_healing_a_host_leaves_others_and_the_partition() -> None:
    now = cut(NET, cut(NET, cut(NET, WHOLE, "h1"), "h1", "h2"), "h3", "h4")
    now = partition(NET, impair(NET, now, "h1", None, SLOW), [["h1"], ["h2"]])
    left = heal(NET, now, "h1")
    assert left == partition(NET, cut(NET, WHOLE, "h3", "h4"), [["h1"], ["h2"]])
    assert heal(NET, now) == WHOLE


def test_an_impairment_replaces_and_nothing_ends_it() -> None:
    now = impair(NET, impair(NET, WHOLE, "h1", None, Impairment(delay=1)), "h1", "s1", SLOW, one_way=True)
    assert now.impaired == {"h1-eth0": SLOW, "s1-eth1": Impairment(delay=1)}
    assert impair(NET, now, "h1", None, Impairment()) == WHOLE


names = st.sampled_from(["h1", "h2", "h3", "s1"])
acts = st.one_of(
    st.tuples(st.just("cut"), names, st.none() | names, st.booleans()),
    st.tuples(st.just("impair"), names, st.none() | names, st.booleans()),
    st.tuples(st.just("heal"), names, st.none() | names, st.booleans()),
)


def act(now: Faults, step: tuple[str, str, str | None, bool]) -> Faults:
    verb, a, b, one_way = step
    try:
        if verb == "cut":
            return cut(NET, now, a, b, one_way=one_way)
        return heal(NET, now, a, b) if verb == "heal" else impair(NET, now, a, b, SLOW, one_way=one_way)
    except Invalid:
        return now


@settings(max_examples=60)
@given(st.lists(acts, max_size=8))
def test_everything_may_be_done_twice_survives_its_file_and_heals(
    steps: list[tuple[str, str, str | None, bool]],
) -> None:
    now = WHOLE
    for step in steps:
        now = act(now, step)
        assert act(now, step) == now
    assert load_faults(dump_faults(now)) == now
    for host in ("h1", "h2", "h3", "h4"):
        now = heal(NET, now, host)
    assert now == WHOLE


def test_what_is_wrong_is_said_line_by_line() -> None:
    now = impair(NET, cut(NET, cut(NET, WHOLE, "h1", "s1", one_way=True), "h1", "h2"), "h2", None, SLOW, one_way=True)
    assert lines(partition(NET, now, [["h1", "h2"], ["h3"]])) == [
        ("from h1-eth0", "cut"),
        ("h1 to h2", "cut"),
        ("h2 to h1", "cut"),
        ("h1 h2 | h3", "partition"),
        ("from h2-eth0", "rate 1000000 bit/s, loss 1.5 %"),
    ]


@pytest.mark.parametrize("how", [{"rate": 999}, {"delay": -1.0}, {"delay": 61.0}, {"loss": -0.1}, {"loss": 100.1}])
def test_an_impairment_has_limits(how: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="impair"):
        impair(NET, WHOLE, "h1", None, Impairment(**how))  # type: ignore[arg-type]


@pytest.mark.parametrize("groups", [[["h1"]], [["h1"], []], [["h1"], ["h2", "h1"]], [["h1", "h1"], ["h2"]]])
def test_a_partition_has_two_groups_and_nobody_twice(groups: list[list[str]]) -> None:
    with pytest.raises(Invalid, match="partition"):
        partition(NET, WHOLE, groups)


def test_unknown_names_are_not_found() -> None:
    with pytest.raises(NotFound, match="no host or switch h9"):
        cut(NET, WHOLE, "h1", "h9")
    with pytest.raises(NotFound, match="no host s1"):
        partition(NET, WHOLE, [["h1"], ["s1"]])
