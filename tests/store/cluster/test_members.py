"""etcd's list of members, and what is known of each."""

from hawser.store.cluster.members import Member, Step, Verb, in_sync, initial_cluster, observed, quorum

ONE = Member(id=1, name="m1", peer_urls=("https://a:1",))
TWO = Member(id=0x22, name="", peer_urls=("https://b:1", "https://c:1"), learner=True)


def test_since_when_a_member_answers_or_does_not() -> None:
    first = observed([TWO, ONE], {}, {1}, 10.0)
    assert [(member.id, member.healthy, member.since) for member in first] == [(1, True, 10.0), (0x22, False, 10.0)]
    second = observed([ONE, TWO], {member.id: member for member in first}, {1, 0x22}, 20.0)
    assert [(member.id, member.healthy, member.since) for member in second] == [(1, True, 10.0), (0x22, True, 20.0)]


def test_a_member_that_was_forgotten_begins_anew() -> None:
    assert observed([], {1: ONE}, (), 5.0) == ()
    assert observed([ONE], {}, (), 7.0)[0].since == 7.0


def test_a_new_member_is_told_of_all_others_and_of_itself_by_its_name() -> None:
    assert initial_cluster([TWO, ONE], "m2", TWO.peer_urls) == "m1=https://a:1,m2=https://b:1,m2=https://c:1"
    assert initial_cluster([TWO, ONE], "m1", ONE.peer_urls) == "m1=https://a:1,22=https://b:1,22=https://c:1"


def test_quorum_and_sync_as_etcd_counts_them() -> None:
    assert [quorum(voters) for voters in range(1, 6)] == [1, 2, 2, 3, 3]
    assert not in_sync(89, 100)
    assert in_sync(90, 100)


def test_a_step_is_a_line() -> None:
    assert str(Step(verb=Verb.REMOVE, member=0xAB, reason="why")) == "remove ab: why"
    assert str(Step(verb=Verb.ADD, machine="m1", reason="why")) == "add m1: why"
    assert str(Step(verb=Verb.NONE, reason="why")) == "none: why"
