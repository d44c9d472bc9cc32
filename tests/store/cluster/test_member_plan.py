"""Which member is added, promoted, removed next: case by case, then in worlds where machines die and come back."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hawser.store import Invalid
from hawser.store.cluster.member_plan import next_step
from hawser.store.cluster.members import Host, Member, Step, Verb, quorum
from tests.store.cluster.quorum_world import PATIENCE, SETTLE, World

SOME = settings(max_examples=100, derandomize=True, deadline=None)
LONG = 1000


def host(name: str, **more: object) -> Host:
    return replace(Host(machine=name, peer_urls=(f"https://{name}:2380",)), **more)  # type: ignore[arg-type]


def voter(number: int, **more: object) -> Member:
    name = f"m{number}"
    member = Member(id=number, name=name, peer_urls=(f"https://{name}:2380",), healthy=True, leader=number == 1)
    return replace(member, **more)  # type: ignore[arg-type]


def step(size: int, hosts: list[str | Host], *listed: Member, now: float = 100.0) -> Step:
    known = [host(one) if isinstance(one, str) else one for one in hosts]
    return next_step(size, known, listed, now=now, patience=PATIENCE, settle=SETTLE)


def says(size: int, hosts: list[str | Host], *listed: Member, now: float = 100.0) -> str:
    return str(step(size, hosts, *listed, now=now))


def test_growth_goes_learner_by_learner() -> None:
    three: list[str | Host] = ["m1", "m2", "m3"]
    learner = Member(id=2, name="", peer_urls=("https://m2:2380",), learner=True, since=100.0)
    started = replace(learner, name="m2", healthy=True)
    assert says(3, three, voter(1)) == "add m2: 1 of the 3 voters wanted are there"
    assert says(3, three, voter(1), learner) == "wait m2: the learner on it does not answer yet"
    assert says(3, three, voter(1), started) == "wait m2: the learner on it is catching up with the leader"
    assert says(3, three, voter(1), replace(started, synced=True)) == "promote m2: the learner has caught up"
    assert says(3, three, voter(1), voter(2)) == "add m3: 2 of the 3 voters wanted are there"
    assert says(3, three, voter(1), voter(2), voter(3)) == "none: 3 voters, as wanted"


def test_two_voters_are_worse_than_one_so_a_learner_waits_for_a_partner() -> None:
    learner = voter(2, learner=True, synced=True)
    waits = "wait m2: its learner waits for one more machine: 2 voters bear no more failures"
    assert says(3, ["m1", "m2"], voter(1), learner) == waits
    assert says(3, ["m1", "m2", "m3"], voter(1), learner) == "promote m2: the learner has caught up"


def test_a_silent_member_is_left_alone_then_removed_then_replaced() -> None:
    machines: list[str | Host] = ["m1", "m3", "m4"]
    silent = voter(2, healthy=False, since=100.0)
    early = step(3, machines, voter(1), silent, voter(3), now=110)
    assert (early.verb, early.machine, early.until) == (Verb.WAIT, "m2", 100 + PATIENCE)
    late = 100 + PATIENCE
    assert says(3, machines, voter(1), silent, voter(3), now=late) == (
        "remove m2: it has not answered for 30 s and can be replaced"
    )
    assert says(3, machines, voter(1), voter(3), now=late) == "add m4: 2 of the 3 voters wanted are there"


def test_a_dead_member_that_nobody_can_replace_keeps_its_place() -> None:
    dead = voter(2, healthy=False)
    assert says(3, ["m1", "m3"], voter(1), dead, voter(3)) == (
        "none m2: its member has not answered for 100 s and no machine can replace it"
    )


def test_dead_members_go_without_replacement_where_fewer_voters_bear_more_failures() -> None:
    dead = [voter(4, healthy=False), voter(5, healthy=False)]
    well = [voter(1), voter(2), voter(3)]
    hosts: list[str | Host] = ["m1", "m2", "m3"]
    reason = "it has not answered for 100 s; without it fewer voters must agree"
    assert says(5, hosts, *well, *dead) == f"remove m4: {reason}"
    assert step(5, hosts, *well, dead[1]).verb is Verb.REMOVE
    assert step(5, hosts, *well).verb is Verb.NONE


def test_a_member_that_is_broken_on_a_live_machine_begins_anew_there() -> None:
    dead = voter(2, healthy=False)
    assert step(3, ["m1", "m2", "m3"], voter(1), dead, voter(3)).verb is Verb.REMOVE
    assert says(3, ["m1", "m2", "m3"], voter(1), voter(3)).startswith("add m2")


def test_nothing_is_done_without_a_quorum() -> None:
    dead = [voter(2, healthy=False), voter(3, healthy=False)]
    assert says(3, ["m1", "m4", "m5"], voter(1), *dead) == (
        "none: no quorum: 1 of 3 voters answer and 2 must: start the others, or restore a snapshot"
    )
    assert step(1, ["m1"], voter(1), *dead).verb is Verb.NONE
    assert says(3, ["m1"]) == "none: there is no etcd member: the first one is started, not added"


def test_etcd_adds_nobody_while_a_voter_does_not_answer_or_has_only_just_begun_to() -> None:
    silent = voter(2, healthy=False, since=99.0)
    assert step(3, ["m1", "m2", "m3"], voter(1), voter(3), silent).verb is Verb.WAIT
    young = voter(2, since=98.0)
    waits = step(3, ["m1", "m2", "m3"], voter(1), young)
    assert (waits.verb, waits.until) == (Verb.WAIT, 98 + SETTLE)


def test_a_lost_learner_makes_room_for_another() -> None:
    lost = Member(id=9, name="", peer_urls=("https://m2:2380",), learner=True, since=0.0)
    assert says(3, ["m1", "m3", "m4"], voter(1), lost) == "remove 9: the learner has not answered for 100 s"
    drained = voter(2, learner=True)
    assert step(3, ["m1", host("m2", willing=False), "m3"], voter(1), drained).verb is Verb.REMOVE


def test_shrinking_takes_the_dead_first_and_the_leader_last() -> None:
    hosts: list[str | Host] = ["m1", "m2", "m3", "m4", "m5"]
    five = [voter(number) for number in range(1, 6)]
    assert says(3, hosts, *five) == "remove m2: 5 voters are more than the 3 wanted"
    assert step(3, hosts, *five[:4], voter(5, healthy=False)).machine == "m5"
    assert step(1, hosts, voter(1), voter(2)).machine == "m2"
    assert step(1, hosts, voter(1, leader=False), voter(2, leader=True)).machine == "m1"


def test_shrinking_waits_for_a_silent_member_for_one_that_answers_may_be_needed() -> None:
    silent = voter(2, healthy=False, since=99.0)
    assert step(1, ["m1", "m2", "m3"], voter(1), silent, voter(3)).verb is Verb.WAIT
    assert step(1, ["m1", "m2", "m3"], voter(1), silent, voter(3), now=99 + PATIENCE).machine == "m2"


def test_a_draining_machine_is_replaced_before_it_is_left() -> None:
    hosts: list[str | Host] = [host("m1", willing=False), "m2", "m3", "m4"]
    three = [voter(1), voter(2), voter(3)]
    assert step(3, hosts, *three).machine == "m4"
    assert step(3, hosts, *three, voter(4, learner=True, synced=True)).verb is Verb.PROMOTE
    assert step(3, hosts, *three, voter(4)).machine == "m1"
    assert step(3, hosts[:3], *three).verb is Verb.NONE


def test_a_learner_votes_when_the_only_voter_is_to_go() -> None:
    hosts: list[str | Host] = ["m1", "m2"]
    learner = voter(2, learner=True, synced=True)
    assert step(3, hosts, voter(1), learner).verb is Verb.WAIT
    assert step(3, [host("m1", willing=False), "m2"], voter(1), learner).verb is Verb.PROMOTE


def test_zones_are_filled_evenly() -> None:
    hosts: list[str | Host] = [host("m1", zone="a"), host("m2", zone="a"), host("m3", zone="b"), host("m4", zone="b")]
    assert step(3, hosts, voter(1)).machine == "m3"
    assert step(3, [*hosts, host("m5", zone="c")], voter(1), voter(3)).machine == "m5"
    assert step(1, hosts, voter(1, leader=False), voter(2), voter(3, leader=True)).machine == "m1"


def test_a_machine_that_moved_takes_its_member_along() -> None:
    moved = host("m2", peer_urls=("https://new:2380",))
    update = step(3, ["m1", moved, "m3"], voter(1), voter(2), voter(3))
    assert (update.verb, update.member, update.peer_urls) == (Verb.UPDATE, 2, ("https://new:2380",))


@pytest.mark.parametrize("size", [0, 2, 4, 9, -1])
def test_sizes_that_make_no_sense_are_refused(size: int) -> None:
    with pytest.raises(Invalid, match="use 1, 3, 5 or 7"):
        step(size, ["m1"], voter(1))


def grow(world: World) -> None:
    """A minute in which nothing happens: it gets what it wants, as far as it can."""
    for _ in range(60):
        live(world)


def settle(world: World) -> None:
    """Let it come to rest: nothing dies any more."""
    for _ in range(LONG):
        before = world.now
        if world.act().verb is Verb.NONE and before > 2 * PATIENCE:
            return
    raise AssertionError(f"it does not come to rest: {[str(one) for one in world.steps[-9:]]}")


SIZES = st.sampled_from([1, 3, 5])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["die", "return", "drain", "undrain", "lag", "catch up"]), st.integers(0, 6)),
        st.tuples(st.just("size"), SIZES),
        st.tuples(st.just("time"), st.integers(1, 50)),
    ),
    max_size=25,
)


def happen(world: World, what: str, number: int, *, keeps_quorum: bool) -> None:
    """One event; with `keeps_quorum` no death that would cost it."""
    name = world.machines[number % len(world.machines)]
    if what == "time":
        for _ in range(number):
            live(world)
    elif what == "size":
        world.size = number
    elif what == "die":
        world.alive.discard(name)
        if keeps_quorum and not world.has_quorum():
            world.alive.add(name)
    elif what == "return":
        world.alive.add(name)
    elif what == "drain":
        world.draining.add(name)
    elif what == "undrain":
        world.draining.discard(name)
    elif what == "lag":
        world.lagging.add(name)
    else:
        world.lagging.discard(name)


def live(world: World) -> None:
    """One step, which must not itself cost a quorum, nor make a cluster that is not shrinking bear fewer deaths."""
    had, tolerance, voters, well = world.has_quorum(), world.tolerance(), len(world.voters()), world.well()
    step = world.act()
    if had:
        assert world.has_quorum(), step
    if voters <= world.size:
        assert world.tolerance() >= tolerance, step
        assert world.well() >= well, step  # one that answers goes only when there are too many


@given(SIZES, st.integers(1, 7), EVENTS)
@SOME
def test_no_step_costs_a_quorum_and_etcd_takes_every_step(size: int, count: int, events: list[tuple[str, int]]) -> None:
    world = World.founded(size, count)
    grow(world)
    for what, number in events:
        happen(world, what, number, keeps_quorum=False)
        live(world)


@given(SIZES, st.integers(0, 2), EVENTS)
@SOME
def test_the_wanted_number_is_reached_once_machines_live_and_stays(
    size: int, more: int, events: list[tuple[str, int]]
) -> None:
    world = World.founded(size, 5 + more)
    grow(world)
    for what, number in events:
        happen(world, what, number, keeps_quorum=True)
        live(world)
    world.alive, world.draining, world.lagging = set(world.machines), set(), set()
    settle(world)
    assert (len(world.voters()), world.well(), len(world.listed)) == (world.size,) * 3
    done = len(world.steps)
    for _ in range(50):
        assert world.act().verb is Verb.NONE
    assert len(world.steps) == done


@given(SIZES, EVENTS, st.permutations([f"m{number}" for number in range(7)]))
@SOME
def test_as_few_machines_as_members_are_wanted_suffice(
    size: int, events: list[tuple[str, int]], others: list[str]
) -> None:
    world = World.founded(size, 7)
    grow(world)
    for what, number in events:
        happen(world, what, number, keeps_quorum=True)
        live(world)
    well = sorted({world.machine(member) for member in world.voters()} & world.alive)
    held = well[: quorum(len(world.voters()))]  # just a quorum stays
    fresh = [name for name in others if name not in held]
    world.alive = {*held, *fresh[: max(0, world.size - len(held))]}
    world.draining, world.lagging = set(), set()
    settle(world)
    assert (len(world.voters()), world.well(), len(world.listed)) == (world.size,) * 3


@given(SIZES, st.integers(1, 7), EVENTS)
@SOME
def test_the_order_in_which_things_are_seen_does_not_matter(
    size: int, count: int, events: list[tuple[str, int]]
) -> None:
    world = World.founded(size, count)
    for what, number in events:
        happen(world, what, number, keeps_quorum=False)
        live(world)
    hosts, listed = world.hosts(), list(world.look())
    first = next_step(world.size, hosts, listed, now=world.now)
    again = next_step(world.size, hosts[::-1], listed[::-1], now=world.now)
    assert first == again
