"""lease: the same on both servers."""

import json

import pytest

from .servers import Server, line_of


def test_keys_go_with_their_lease(store: Server) -> None:
    lease = store.ok("lease", "grant", "600").text.strip()
    store.ok("put", "/a", "1", "--lease", lease)
    assert store.ok("lease", "show", lease).text.startswith("granted 600 s, remaining ")
    assert store.ok("lease", "show", lease, "--keys").lines[1:] == ["/a"]
    shown = json.loads(store.ok("lease", "ls", "--json").text)
    assert [(each["id"], each["keys"]) for each in shown] == [(lease, ["/a"])]
    (kv,) = json.loads(store.ok("get", "/a", "--json").text)["kvs"]
    assert kv["lease"] == lease
    store.ok("lease", "revoke", lease)
    assert store.kv("get", "/a").code == 3


def test_an_id_may_be_chosen_and_is_hex(store: Server) -> None:
    assert store.ok("lease", "grant", "600", "--id", "00ff").text == "00000000000000ff\n"
    again = store.kv("lease", "grant", "600", "--id", "ff")
    assert (again.code, again.err) == (4, "hawser: lease 00000000000000ff exists already; choose another id, or none\n")


def test_keep_alive_renews_until_it_is_stopped(store: Server) -> None:
    lease = store.ok("lease", "grant", "2").text.strip()
    assert store.ok("lease", "keep-alive", "--once", lease).text == "2\n"
    with store.running("lease", "keep-alive", lease) as renewing:
        assert [line_of(renewing) for _ in range(2)] == ["2", "2"]
        store.ok("lease", "revoke", lease)
        assert renewing.wait(10) == 3


@pytest.mark.parametrize("verb", ["show", "revoke", "keep-alive"])
def test_a_lease_that_is_not_there(verb: str, store: Server) -> None:
    outcome = store.kv("lease", verb, "99")
    assert outcome.code == 3
    assert outcome.err.startswith("hawser: lease 0000000000000099 does not exist;")
    assert store.kv("put", "a", "b", "--lease", "99").err == outcome.err
