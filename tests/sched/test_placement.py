"""Where units may run, with fleet's rules, and what is said of those that may run nowhere."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.sched.fleet import matches
from hawser.sched.model import Fleet
from hawser.sched.placement import Decision, Machine, place

A, B, C = (
    Machine(id="a", metadata={"region": "eu", "disk": "ssd"}),
    Machine(id="b", metadata={"region": "us"}),
    Machine(id="c"),
)


def where(units: Mapping[str, Fleet], *machines: Machine, **current: str) -> dict[str, str]:
    """Unit → its machines, or the reason why none."""
    now = {f"{name}.service": tuple(ids.split(",")) for name, ids in current.items()}
    wanted = {f"{name}.service": fleet for name, fleet in units.items()}
    decided = place(wanted, machines or (A, B, C), now)
    return {
        name.removesuffix(".service"): ",".join(decision.machines) or decision.reason
        for name, decision in decided.items()
    }


def test_the_least_loaded_machine_is_taken_and_the_lesser_id_of_equals() -> None:
    assert where({"u1": Fleet(), "u2": Fleet(), "u3": Fleet(), "u4": Fleet()}) == {
        "u1": "a", "u2": "b", "u3": "c", "u4": "a",
    }  # fmt: skip


def test_what_is_placed_stays() -> None:
    assert where({"u1": Fleet(), "u2": Fleet()}, u1="c", u2="c") == {"u1": "c", "u2": "c"}


def test_a_machine_that_is_gone_loses_its_units() -> None:
    assert where({"u": Fleet()}, B, u="a") == {"u": "b"}


def test_machine_id() -> None:
    assert where({"u": Fleet(machine_id="b")}) == {"u": "b"}
    assert where({"u": Fleet(machine_id="x")}, A) == {"u": "no machine: MachineID=x is not here"}


def test_metadata_of_one_key_is_a_choice_of_several_all_hold() -> None:
    assert where({"u": Fleet(metadata={"region": ("us", "asia")})}) == {"u": "b"}
    assert where({"u": Fleet(metadata={"region": ("eu",), "disk": ("hdd",)})}, A, C) == {
        "u": "no machine: a has disk=ssd, not hdd; c has no metadata disk"
    }
    assert where({"u": Fleet(metadata={"region": ("us",)})}, u="a") == {"u": "b"}


def test_a_peer_draws_whatever_the_order_of_names() -> None:
    assert where({"a1": Fleet(machine_of=("z.service",)), "z": Fleet(machine_id="b")}) == {"a1": "b", "z": "b"}
    assert where({"u": Fleet(machine_of=("x.service",))}, A) == {"u": "no machine: MachineOf=x.service is not on a"}


def test_peers_of_each_other_never_run() -> None:
    decided = where({"a": Fleet(machine_of=("b.service",)), "b": Fleet(machine_of=("a.service",))}, A)
    assert all(reason.startswith("no machine") for reason in decided.values())


def test_conflicts_block_from_either_side_and_never_oneself() -> None:
    web = Fleet(conflicts=("web*",))
    assert where({"web1": web, "web2": web, "web3": web}, A, B) == {
        "web1": "a",
        "web2": "b",
        "web3": "no machine: conflicts with web1.service on a; conflicts with web2.service on b",
    }
    assert where({"a": web, "web": Fleet()}, A)["web"] == "no machine: conflicts with a.service on a"


def test_a_new_conflict_moves_one_of_the_two() -> None:
    assert where({"u1": Fleet(conflicts=("u2*",)), "u2": Fleet()}, A, B, u1="a", u2="a") == {"u1": "a", "u2": "b"}


def test_a_unit_takes_the_place_of_what_it_replaces() -> None:
    units = {"new": Fleet(replaces=("old*",), machine_id="a"), "old": Fleet()}
    assert where(units, A, B, old="a") == {"new": "a", "old": "b"}
    assert where(units, A, old="a") == {"new": "a", "old": "no machine: replaced by new.service on a"}


def test_a_displaced_unit_keeps_its_constraints() -> None:
    units = {"new": Fleet(replaces=("old*",), machine_id="a"), "old": Fleet(metadata={"disk": ("ssd",)})}
    assert where(units, A, B, old="a")["old"].startswith("no machine: replaced by new.service on a; b has no")


def test_units_that_replace_each_other_share() -> None:
    units = {"a": Fleet(replaces=("b*",)), "b": Fleet(replaces=("a*",))}
    assert where(units, A) == {"a": "a", "b": "a"}


def test_a_global_unit_runs_wherever_it_may() -> None:
    assert where({"g": Fleet(is_global=True), "h": Fleet(is_global=True, metadata={"region": ("eu", "us")})}) == {
        "g": "a,b,c",
        "h": "a,b",
    }


def test_globs_are_those_of_go() -> None:
    assert matches(("a[b-d]*",), "acx.service")
    assert not matches(("a[^b-d]*",), "acx")
    assert matches((r"a\*",), "a*")
    assert not matches((r"a\*",), "ab")
    assert matches(("a?.service",), "ab.service")
    assert not matches(("a",), "ab")


NAMES = [f"u{i}.service" for i in range(5)]
FLEETS = st.builds(
    Fleet,
    machine_id=st.sampled_from([None, None, "a", "x"]),
    metadata=st.sampled_from([{}, {"region": ("eu",)}, {"region": ("eu", "us")}]),
    machine_of=st.lists(st.sampled_from(NAMES), max_size=1).map(tuple),
    conflicts=st.lists(st.sampled_from(["u1*", "u[23]*"]), max_size=1).map(tuple),
)


@given(
    st.dictionaries(st.sampled_from(NAMES), FLEETS, max_size=5),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["a", "b", "gone"]).map(lambda m: (m,)), max_size=5),
)
@settings(max_examples=80, deadline=None)
def test_placement_is_stable_lawful_and_explained(units: dict[str, Fleet], current: dict[str, tuple[str, ...]]) -> None:
    decided = place(units, (A, B, C), current)
    again = place(dict(reversed(units.items())), (C, B, A), {name: d.machines for name, d in decided.items()})
    assert again == decided
    for name, decision in decided.items():
        assert bool(decision.machines) != bool(decision.reason)
        fleet = units[name]
        for machine in decision.machines:
            assert fleet.machine_id in (None, machine)
            for peer in fleet.machine_of:
                assert machine in decided.get(peer, Decision()).machines
            for other, their in decided.items():
                if other != name and machine in their.machines:
                    assert not matches(fleet.conflicts, other)
