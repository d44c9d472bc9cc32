"""Three machines found, join, see and use one cluster; what does not belong there is told so in one line."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.store.cluster.local_etcd import needs_etcd
from tests.wait import until

from .fleet import UNIT, Fleet, Machine, fleet

pytestmark = [pytest.mark.root, needs_etcd]
TTL = 10.0
LIFE, PATIENCE = 24.0, 8.0


@pytest.fixture(scope="module")
def three() -> Iterator[Fleet]:
    """A cluster of three members, shared; a fourth and fifth machine beside it, of no cluster."""
    with fleet(5, "three") as made:
        made.found("--label", "zone=a", "--certificate-life", f"{LIFE:g}", "--replace-after", f"{PATIENCE:g}")
        yield made


def stranger(three: Fleet) -> Machine:
    """A machine of no cluster."""
    assert not (three[3].data / "cluster" / "cluster.json").exists()
    return three[3]


def test_one_machine_founds_and_two_join_and_all_three_vote(three: Fleet) -> None:
    assert three[0].voters() == {machine.id for machine in three.machines[:3]}
    clusters = {machine.status()["cluster"] for machine in three.machines[:3]}
    assert len(clusters) == 1
    steps = [line for line in three[0].log().splitlines() if "etcd members: " in line]
    assert sum(": add " in line for line in steps) == 2
    assert sum(": promote " in line for line in steps) == 2, "each began as a learner"


def test_every_machine_sees_all_of_them(three: Fleet) -> None:
    for machine in three.machines[:3]:
        until(lambda machine=machine: len(machine.machines()) == 3, timeout=5, what="three machines")  # type: ignore[misc]
        listed = json.loads(machine.hawser("machine", "ls", "--json").out)
        assert [each["id"] for each in listed] == sorted(each.id for each in three.machines[:3])
        assert [each["id"] for each in listed if each["here"]] == [machine.id]
        assert sum(each["leader"] for each in listed) == 1
    shown = json.loads(three[1].hawser("machine", "show", three[0].id[:8]).out)
    assert shown["addresses"] == [three[0].ip]
    assert shown["labels"] == {"zone": "a"}
    assert shown["role"] == "member"
    assert shown["capacity"]["cpus"] >= 1
    assert shown["capacity"]["memory"] > 1 << 28
    assert shown["capacity"]["disk"] > 1 << 20
    assert all(shown["versions"][what] for what in ("hawser", "kernel", "etcd"))
    table = three[0].hawser("machine", "ls").out.splitlines()
    assert len(table) == 4
    assert sum("leader" in line for line in table) == 1
    unknown = three[0].hawser("machine", "show", "nosuch")
    assert (unknown.code, unknown.err) == (3, "hawser: no machine nosuch; see: hawser machine ls\n")


def test_a_token_lets_one_machine_in_once(three: Fleet) -> None:
    listed = json.loads(three[0].hawser("node", "token", "ls", "--json").out)
    assert [each["left"] for each in listed if each["state"] == "valid"] == [1]
    once = next(each for each in listed if each["state"] == "valid")
    assert set(once["machines"]) == {three[1].id, three[2].id}
    three[0].hawser("node", "token", "revoke", once["id"])
    assert json.loads(three[1].hawser("node", "token", "ls", "--json").out)[0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        ("revoke", 6, "was revoked: make a new one"),
        ("expire", 6, "ago: make a new one"),
        ("cut", 2, "its check sum is wrong"),
        ("secret", 2, "its check sum is wrong"),
        ("word", 2, "not hawser1"),
    ],
)
def test_a_token_that_does_not_count(three: Fleet, spoil: str, code: int, said: str) -> None:
    token = three[0].token("--ttl", "1" if spoil == "expire" else "60")
    made = time.time()
    if spoil == "revoke":
        assert three[0].hawser("node", "token", "revoke", token.split(".")[1]).code == 0
    elif spoil == "expire":
        until(lambda: time.time() > made + 1.1, what="its end")
    elif spoil == "cut":
        token = token[:-5]
    elif spoil == "secret":
        head, id_, secret, rest = token.split(".")
        token = f"{head}.{id_}.{secret[::-1]}.{rest}"
    else:
        token = "let-me-in"
    told = stranger(three).refused("join", token)
    assert said in told.err
    assert told.code == code
    assert not (three[3].data / "cluster" / "machine.pem").exists()


def test_nobody_answers_at_the_tokens_addresses(three: Fleet) -> None:
    token = three[0].token()
    three.lab.partition([three[3].host.name], [machine.host.name for machine in three.machines[:3]])
    try:
        told = stranger(three).refused("join", token)
    finally:
        three.lab.heal()
    assert told.code == 5
    assert "no machine of the cluster answers" in told.err


def test_a_machine_is_of_one_cluster(three: Fleet) -> None:
    """It founds none, joins no other, and uses no other's etcd; which one it is of is said."""
    other, own = three[3], three[2]
    other.up("up", "--cluster-init", "1")
    foreign = other.token()
    third = three[2].status()["cluster"]
    own.stop()
    for words, option in (
        (("join", foreign), "cannot join"),
        (("up", "--cluster-init", "3"), "cannot found another"),
        (("up", "--store", f"etcd://{other.ip}:2379"), "runs its own etcd"),
    ):
        told = own.refused(*words)
        assert told.code == 4
        assert f"belongs to cluster {third}" in told.err
        assert option in told.err
    own.up()
    other.leave()
    assert not (other.data / "cluster").exists()
    assert not (other.data / "etcd" / "data").exists()


def test_a_node_starts_again_and_its_member_never_stopped(three: Fleet) -> None:
    member = three[1].etcd_pid()
    three[1].stop()
    three[1].up()
    three[1].kill()
    assert three[0].voters() == {machine.id for machine in three.machines[:3]}
    three[1].up()
    assert three[1].etcd_pid() == member
    until(lambda: len(three[0].machines()) == 3, timeout=TTL + 5, what="its return")


def test_the_door_takes_no_nonsense(three: Fleet) -> None:
    url, big = f"https://{three[0].ip}:7379/v1", three[3].host.path / "big"
    big.write_bytes(b"{" * 1_000_000)
    for arguments, code in (
        (["-d", "{", f"{url}/join"], "400"),
        (["-d", '{"token": 1}', f"{url}/join"], "400"),
        (["-d", "[" * 60000, f"{url}/join"], "400"),
        (["--data-binary", f"@{big}", f"{url}/join"], "413"),
        (["-d", '{"csr": "x"}', f"{url}/renew"], "403"),
        (["-X", "PUT", f"{url}/join"], "405"),
        ([f"{url}/../../etc/passwd"], "404"),
    ):
        asked = three[3].host.run(["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", *arguments])
        assert asked.stdout == code, (arguments[0], arguments[1][:20])
    assert three[0].status()["failures"] == []


def test_a_client_never_has_what_makes_a_member(three: Fleet) -> None:
    client = three[3]
    client.up("join", three[0].token("--client"))
    assert client.machines()[client.id]["role"] == "client"
    assert not list((client.data / "cluster").glob("ca-key*"))
    assert not (client.data / "cluster" / "issuer.pem").exists()
    assert not (client.data / "etcd").exists()
    told = client.hawser("node", "token", "create")
    assert told.code == 6
    assert "make the token on a member's machine" in told.err
    client.leave()
    assert three[0].voters() == {machine.id for machine in three.machines[:3]}
    until(lambda: len(three[0].machines()) == 3, timeout=5, what="its record's end")


def test_certificates_are_replaced_while_everything_goes_on(three: Fleet) -> None:
    """They live for LIFE seconds here: what runs for longer shows new ones, and no process started anew."""
    members = [machine.etcd_pid() for machine in three.machines[:3]]
    before = [machine.certificate() for machine in three.machines[:3]]
    until(lambda: not set(before) & {m.certificate() for m in three.machines[:3]}, timeout=LIFE, what="new ones")
    for machine in three.machines[:3]:
        assert "is healthy" in machine.etcdctl("endpoint", "health")
        assert machine.served() == machine.certificate()
        assert machine.status()["failures"] == []
        three[0].client.put("/v1/units/r.service", {"text": UNIT})
        until(lambda machine=machine: machine.unit("r.service"), timeout=5, what="the others' changes")  # type: ignore[misc]
        three[0].client.post("/v1/units/r.service/destroy")
        until(lambda: not three[0].unit("r.service"), timeout=10, what="its end")
    assert [machine.etcd_pid() for machine in three.machines[:3]] == members


def test_cut_off_from_the_others(three: Fleet) -> None:
    """Its units go on there, and after its lease elsewhere; when it is back, each runs once."""
    start_units(three[0], 3)
    placed = until_spread(three[0], three.machines[:3])
    cut = next(m for m in three.machines[:3] if m.id == three[0].leader())
    rest = [machine for machine in three.machines[:3] if machine is not cut]
    three.lab.partition([cut.host.name], [machine.host.name for machine in rest])
    try:
        until(lambda: rest[0].leader() in {m.id for m in rest}, timeout=TTL + 10, what="a leader among the others")
        told = cut.hawser("machine", "ls")
        assert told.code == 5
        assert len(told.err.splitlines()) == 1
        assert len(cut.sleepers()) == list(placed.values()).count(cut.id), "what ran there runs on"
        until(lambda: sum(len(m.sleepers()) for m in rest) == 3, timeout=20, what="its units elsewhere")
    finally:
        three.lab.heal()
    until(lambda: len(cut.machines_or_none()) == 3, timeout=TTL + 10, what="its return")
    until(lambda: sum(len(m.sleepers()) for m in three.machines[:3]) == 3, timeout=20, what="each unit once")


def test_a_machine_dies_and_another_takes_its_place(three: Fleet) -> None:
    """Another leads, its units run elsewhere, and after the cluster's patience a spare machine has its member; when it
    comes back it has no member and nothing runs twice."""
    start_units(three[0], 3)
    until_spread(three[0], three.machines[:3])
    dead, spare = next(m for m in three.machines[:3] if m.id == three[0].leader()), three[3]
    rest = [machine for machine in three.machines[:3] if machine is not dead]
    spare.up("join", three[0].token())
    assert spare.voters() | rest[0].voters() == {machine.id for machine in three.machines[:3]}
    dead.host.crash()
    until(lambda: rest[0].leader() in {m.id for m in [*rest, spare]}, timeout=TTL + 10, what="another leader")
    alive = [*rest, spare]
    until(lambda: sum(len(m.sleepers()) for m in alive) == 3, timeout=20, what="its units elsewhere")
    three.grown(alive, timeout=PATIENCE + 40)
    dead.up()
    until(lambda: len(dead.machines_or_none()) == 4, timeout=TTL + 5, what="its return")
    until(lambda: not (dead.data / "etcd" / "data").exists(), timeout=20, what="its old member's end")
    assert sum(len(m.sleepers()) for m in [*alive, dead]) == 3
    assert rest[0].voters() == {machine.id for machine in alive}


def test_a_machine_leaves_and_another_takes_its_place(three: Fleet) -> None:
    gone = next(m for m in three.machines[:4] if m.id in three[3].voters() and m is not three[3])
    rest = [machine for machine in three.machines[:4] if machine is not gone]
    gone.leave()
    assert rest[0].voters() == {machine.id for machine in rest}, "it was replaced before it went"
    assert not (gone.data / "cluster").exists()
    assert not (gone.data / "etcd" / "data").exists()
    assert gone.sleepers() == []
    until(lambda: sum(len(m.sleepers()) for m in rest) == 3, timeout=20, what="its units elsewhere")
    assert gone.id not in rest[0].machines()


def start_units(machine: Machine, count: int) -> None:
    for number in range(count):
        machine.client.put(f"/v1/units/u{number}.service", {"text": UNIT})
        machine.client.post(f"/v1/units/u{number}.service/start")


def until_spread(machine: Machine, machines: list[Machine]) -> dict[str, str]:
    """Where the units run, when all do."""

    def placed() -> dict[str, str]:
        rows = machine.client.get("/v1/units")
        return {row["name"]: row["machine"] for row in rows if row["active"] == "active"}

    until(lambda: len(placed()) == 3, timeout=20, what="three units that run")
    until(lambda: sum(len(m.sleepers()) for m in machines) == 3, timeout=20, what="their processes")
    return placed()
