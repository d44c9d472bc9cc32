"""user, role and auth, on both servers."""

import json

import pytest

from .servers import Server


def test_users_roles_and_what_they_may(fresh: Server) -> None:
    for line in (
        "user add root:secret",
        "user add ann:hers",
        "role add reader",
        "role grant reader read /a/ --prefix",
        "role grant reader write x z",
        "user grant ann reader",
    ):
        fresh.ok(*line.split())
    fresh.ok("put", "/a/k", "v")
    assert fresh.ok("user", "ls").lines == ["USER", "ann", "root"]
    assert json.loads(fresh.ok("user", "show", "ann", "--json").text) == ["reader"]
    shown = {line.split()[1]: line.split(None, 2)[2] for line in fresh.ok("role", "show", "reader").lines[1:]}
    assert shown == {"/a/": "and every key that begins so", "x": "up to z"}
    assert fresh.ok("auth", "status").text == "off\n"
    fresh.ok("auth", "on")
    root, ann = ("--user", "root:secret"), ("--user", "ann:hers")
    try:
        assert fresh.ok(*root, "auth", "status").text == "on\n"
        assert fresh.ok(*ann, "get", "/a/k").text == "v\n"
        fresh.ok(*ann, "put", "y", "1")
        for arguments in (
            ("get", "/a/k"),
            (*ann, "put", "/a/k", "w"),
            (*ann, "get", "y"),
            ("--user", "ann:wrong", "get", "/a/k"),
            (*ann, "user", "add", "eve:x"),
            (*ann, "watch", "y"),
        ):
            outcome = fresh.kv(*arguments)
            assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (6, b"", 1), (arguments, outcome)
        fresh.ok(*root, "user", "passwd", "ann", stdin=b"new\n")
        assert fresh.kv(*ann, "get", "/a/k").code == 6
        assert fresh.ok("--user", "ann:new", "get", "/a/k").text == "v\n"
        fresh.ok(*root, "role", "revoke", "reader", "/a/", "--prefix")
        assert fresh.kv("--user", "ann:new", "get", "/a/k").code == 6
    finally:
        fresh.ok(*root, "auth", "off")


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
