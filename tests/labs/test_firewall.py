"""The transaction says what is lost, where, and nothing of what is not."""

from hawser.labs.faults import WHOLE, Impairment, cut, impair, partition
from hawser.labs.firewall import ruleset
from hawser.labs.shapes import linear, single

FRESH = "add table bridge lab\ndelete table bridge lab\n"
NET = single(4)


def test_nothing_wrong_is_no_table() -> None:
    assert ruleset(NET, WHOLE) == FRESH
    assert ruleset(NET, impair(NET, WHOLE, "h1", None, Impairment(rate=10**6))) == FRESH


def test_a_cut_is_a_rule_a_direction_at_the_switch() -> None:
    assert ruleset(NET, cut(NET, WHOLE, "h1")) == FRESH + (
        "table bridge lab {\nchain forward {\ntype filter hook forward priority 0;\n"
        'iifname "s1-eth1" drop\noifname "s1-eth1" drop\n}\n}\n'
    )


def test_a_trunk_is_cut_where_it_sends() -> None:
    row = linear(2)
    text = ruleset(row, cut(row, WHOLE, "s1", "s2"))
    assert 'oifname "s1-eth2" drop' in text
    assert 'oifname "s2-eth2" drop' in text


def test_a_loss_is_a_part_of_a_million_unless_all_is_lost_anyway() -> None:
    lossy = impair(NET, WHOLE, "h1", None, Impairment(loss=0.5), one_way=True)
    assert 'iifname "s1-eth1" numgen random mod 1000000 < 5000 drop' in ruleset(NET, lossy)
    assert "numgen" not in ruleset(NET, cut(NET, lossy, "h1"))


def test_hosts_that_are_not_heard_are_marked_where_they_enter_and_dropped_where_they_leave() -> None:
    text = ruleset(NET, partition(NET, WHOLE, [["h1", "h2"], ["h3", "h4"]]))
    assert 'meta mark set iifname map { "s1-eth1" : 1, "s1-eth2" : 1, "s1-eth3" : 2, "s1-eth4" : 2 }' in text
    assert 'chain deaf1 { oifname { "s1-eth3", "s1-eth4" } drop; }' in text
    assert 'chain deaf2 { oifname { "s1-eth1", "s1-eth2" } drop; }' in text
    assert "meta mark vmap { 1 : goto deaf1, 2 : goto deaf2 }" in text


def test_two_halves_of_a_large_lab_take_two_chains() -> None:
    net = single(200)
    hosts = [host.name for host in net.hosts]
    text = ruleset(net, partition(net, WHOLE, [hosts[:100], hosts[100:]]))
    assert text.count("chain deaf") == 2
    assert len(text) < 20_000
