"""get, put and del: the same on both servers."""

import json

import pytest

from .servers import Server


def test_a_value_comes_back_as_it_was_given_and_put_says_the_revision(store: Server) -> None:
    revision = int(store.ok("put", "/a", "one").text)
    assert store.ok("get", "/a").out == b"one\n"
    assert int(store.ok("put", "/a", stdin=b"tw\0o\xff").text) == revision + 1
    assert store.ok("get", "/a").out == b"tw\0o\xff\n"
    assert store.ok("get", "/a", "--hex").text == "\\x74\\x77\\x00\\x6f\\xff\n"
    assert store.ok("get", "/a", "--rev", str(revision)).out == b"one\n"


def test_json_tells_text_from_bytes(store: Server) -> None:
    store.ok("put", "/a", "é")
    store.ok("put", "/b", stdin=b"\xff")
    found = json.loads(store.ok("get", "--prefix", "/", "--json").text)
    assert [(kv["key"], kv["value"]) for kv in found["kvs"]] == [("/a", "é"), ("/b", {"base64": "/w=="})]
    assert (found["count"], found["more"], found["kvs"][0]["lease"]) == (2, False, None)


@pytest.fixture
def letters(store: Server) -> Server:
    for key, value in (("/a", "3"), ("/b", "1"), ("/c", "2"), ("/d", "4"), ("x", "y")):
        store.ok("put", key, value)
    store.ok("put", "/b", "1")
    return store


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ("/a /c", "/a /b"),
        ("/c --from-key", "/c /d x"),
        ("--prefix /", "/a /b /c /d"),
        ("--prefix / --limit 2", "/a /b"),
        ("--prefix / --sort-by value", "/b /c /a /d"),
        ("--prefix / --sort-by modify --order descend", "/b /d /c /a"),
        ("--prefix / --sort-by version --order DESCEND --limit 1", "/b"),
        ("--prefix /nothing", ""),
    ],
)
def test_ranges_and_orders(arguments: str, keys: str, letters: Server) -> None:
    assert letters.ok("get", *arguments.split(), "--keys-only").lines == keys.split()


def test_what_of_a_range_is_printed(letters: Server) -> None:
    assert letters.ok("get", "/a", "/c").lines == ["/a", "3", "/b", "1"]
    assert letters.ok("get", "/a", "/c", "--values-only").lines == ["3", "1"]
    assert letters.ok("get", "--prefix", "/", "--count-only").text == "4\n"
    assert letters.ok("get", "/a", "--keys-only").lines == ["/a"]
    assert letters.ok("get", "/a", "--serializable").lines == ["3"]


def test_bounds_of_revisions(letters: Server) -> None:
    kvs = json.loads(letters.ok("get", "--prefix", "/", "--json").text)["kvs"]
    created = {kv["key"]: kv["create_revision"] for kv in kvs}
    modified = {kv["key"]: kv["mod_revision"] for kv in kvs}
    for option, keys in (
        (f"--min-mod-rev={modified['/d']}", ["/b", "/d"]),
        (f"--max-mod-rev={modified['/c']}", ["/a", "/c"]),
        (f"--min-create-rev={created['/c']}", ["/c", "/d"]),
        (f"--max-create-rev={created['/b']}", ["/a", "/b"]),
    ):
        assert letters.ok("get", "--prefix", "/", "--keys-only", option).lines == keys, option


def test_put_tells_what_was_there_and_keeps_what_it_is_told_to(store: Server) -> None:
    lease = store.ok("lease", "grant", "600").text.strip()
    assert len(store.ok("put", "/a", "one", "--prev-kv").lines) == 1
    assert store.ok("put", "/a", "two", "--prev-kv", "--lease", lease).lines[1:] == ["/a", "one"]
    store.ok("put", "/a", "three", "--ignore-lease")
    store.ok("put", "/a", "--ignore-value")
    (kv,) = json.loads(store.ok("get", "/a", "--json").text)["kvs"]
    assert (kv["value"], kv["lease"]) == ("three", None)
    put = json.loads(store.ok("put", "/a", "four", "--prev-kv", "--json").text)
    assert put["prev"]["value"] == "three"


def test_del_says_how_many_went(letters: Server) -> None:
    assert letters.ok("del", "/a").text == "1\n"
    assert letters.kv("del", "/a").code == 3
    assert letters.ok("del", "/b", "/d", "--prev-kv").lines == ["2", "/b", "1", "/c", "2"]
    assert letters.ok("del", "/d", "--range", "/e").text == "1\n"
    assert letters.ok("del", "--prefix", "/").text == "0\n"
    assert letters.ok("del", "a", "--from-key").text == "1\n"


def test_a_key_that_is_not_there_is_one_line_and_its_code(store: Server) -> None:
    outcome = store.kv("get", "/nothing")
    assert (outcome.code, outcome.out) == (3, b"")
    assert outcome.err.startswith("hawser: no key /nothing;")
