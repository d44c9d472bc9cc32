"""user, role and auth, on both servers."""

import json

import pytest

from .servers import Server


def test_users_roles_and_what_they_may(store: Server) -> None:
    for line in (
        "user add root:secret",
        "user add ann:hers",
        "role add reader",
        "role grant reader read /a/ --prefix",
        "role grant reader write x z",
        "user grant ann reader",
    ):
        store.ok(*line.split())
    store.ok("put", "/a/k", "v")
    assert store.ok("user", "ls").lines == ["USER", "ann", "root"]
    assert json.loads(store.ok("user", "show", "ann", "--json").text) == ["reader"]
    shown = {line.split()[1]: line.split(None, 2)[2] for line in store.ok("role", "show", "reader").lines[1:]}
    assert shown == {"/a/": "and every key that begins so", "x": "up to z"}
    assert store.ok("auth", "status").text == "off\n"
    store.ok("auth", "on")
    root, ann = ("--user", "root:secret"), ("--user", "ann:hers")
    try:
        assert store.ok(*root, "auth", "status").text == "on\n"
        assert store.ok(*ann, "get", "/a/k").text == "v\n"
        store.ok(*ann, "put", "y", "1")
        for arguments in (
            ("get", "/a/k"),
            (*ann, "put", "/a/k", "w"),
            (*ann, "get", "y"),
            ("--user", "ann:wrong", "get", "/a/k"),
            (*ann, "user", "add", "eve:x"),
            (*ann, "watch", "y"),
        ):
            outcome = store.kv(*arguments)
            assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (6, b"", 1), (arguments, outcome)
        store.ok(*root, "user", "passwd", "ann", stdin=b"new\n")
        assert store.kv(*ann, "get", "/a/k").code == 6
        assert store.ok("--user", "ann:new", "get", "/a/k").text == "v\n"
        store.ok(*root, "role", "revoke", "reader", "/a/", "--prefix")
        assert store.kv("--user", "ann:new", "get", "/a/k").code == 6
    finally:
        store.ok(*root, "auth", "off")
    for line in ("user rm ann", "user rm root", "role rm reader", "role rm root"):
        store.ok(*line.split())
    assert store.ok("role", "ls").lines == ["ROLE"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("user rm nobody", 3),
        ("user show nobody", 3),
        ("user grant nobody nothing", 3),
        ("role rm nothing", 3),
        ("role grant nothing read a", 3),
        ("role grant nothing see a", 2),
        ("auth on", 4),
        ("user add x", 2),
        ("--user x get a", 2),
    ],
)
def test_mistakes(line: str, code: int, store: Server) -> None:
    outcome = store.kv(*line.split())
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (code, b"", 1), outcome
