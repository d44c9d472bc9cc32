"""The report reads as Mininet's."""

from hawser.labs.report import Report


def report(*lost: tuple[str, str]) -> Report:
    return Report(hosts=("h1", "h2", "h3"), lost=frozenset(lost), seconds=0.5)


def test_nothing_lost() -> None:
    assert report().summary() == "*** Results: 0% dropped (6/6 received)"
    assert next(report().lines()) == "h1 -> h2 h3"


def test_a_lost_pair_shows_in_the_matrix_and_the_sum() -> None:
    found = report(("h2", "h1"), ("h1", "h2"))
    assert list(found.lines()) == ["h1 -> X h3", "h2 -> X h3", "h3 -> h1 h2"]
    assert found.summary() == "*** Results: 33% dropped (4/6 received)"
    assert found.document()["lost"] == [["h1", "h2"], ["h2", "h1"]]


def test_one_in_many_is_not_rounded_away() -> None:
    hosts = tuple(f"h{i}" for i in range(30))
    found = Report(hosts=hosts, lost=frozenset({("h1", "h2")}), seconds=1)
    assert found.summary() == "*** Results: 0.115% dropped (869/870 received)"


def test_a_single_host_has_nobody_to_ping() -> None:
    assert Report(hosts=("h1",), lost=frozenset(), seconds=0).loss == 0
