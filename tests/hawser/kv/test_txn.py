"""txn: etcdctl's text form and the JSON form, the same on both servers."""

import json

from .servers import Server


def test_the_branch_that_runs_is_that_of_the_compares(store: Server) -> None:
    script = b'version("k") = 0\n\nput k "it is new"\n\nget k\n'
    assert store.ok("txn", stdin=script).text == "SUCCESS\n\nOK\n"
    assert store.ok("txn", stdin=script).text == "FAILURE\n\nk\nit is new\n"


def test_every_compare_and_operation(store: Server) -> None:
    lease = store.ok("lease", "grant", "600").text.strip()
    store.ok("put", "k", "v", "--lease", lease)
    store.ok("put", "other", "w")
    compares = f'create("k") > 0\nmod(`k`) != "0"\nval("k") = "v"\nver("k") < 9\nlease("k") = "{lease}"\n'
    operations = "get --prefix \"\" --keys-only\nput k 'x y' --prev-kv\nget k\ndel other --prev-kv\ndel nothing\n"
    done = store.ok("txn", stdin=f"{compares}\n{operations}\n\n".encode())
    assert done.text == "SUCCESS\n\nk\nother\n\nOK\nk\nv\n\nk\nx y\n\n1\nother\nw\n\n0\n"


def test_bytes_are_written_as_in_go(store: Server) -> None:
    store.ok("txn", stdin=b'\nput "a\\x01\\"b" "\\xff\\n"\n\n\n')
    assert store.ok("get", 'a\x01"b').out == b"\xff\n\n"


def test_the_json_form_and_its_result(store: Server) -> None:
    store.ok("put", "k", "v")
    script = {
        "compare": [{"key": "k", "target": "value", "op": "=", "value": "v"}],
        "success": [
            {"put": {"key": "bin", "value": {"base64": "/w=="}}},
            {"txn": {"compare": [], "success": [{"get": {"key": "bin"}}], "failure": []}},
            {"del": {"key": "k", "prev_kv": True}},
        ],
        "failure": [],
    }
    done = json.loads(store.ok("txn", "--json", stdin=json.dumps(script).encode()).text)
    put, nested, gone = done["results"]
    assert done["succeeded"]
    assert put["revision"] == done["revision"]
    assert nested["results"][0]["kvs"][0]["value"] == {"base64": "/w=="}
    assert (gone["deleted"], gone["prev"][0]["value"]) == (1, "v")


def test_mistakes_are_told_all_at_once_with_their_lines(store: Server) -> None:
    outcome = store.kv("txn", stdin=b'val(k) = "3"\n\nfoo\nput x\nget x --nix\n\nget k\n')
    assert (outcome.code, outcome.out) == (2, b"")
    assert len(outcome.err.splitlines()) == 1
    for part in ("line 1: ", "line 3: ", "line 4: ", "line 5: "):
        assert part in outcome.err


def test_what_the_server_refuses(store: Server) -> None:
    twice = store.kv("txn", stdin=b"\nput a 1\nput a 2\n")
    assert (twice.code, len(twice.err.splitlines())) == (2, 1)
    many = store.kv("txn", stdin=b"\n" + b"".join(b"put k%d v\n" % number for number in range(129)))
    assert many.code == 2
    assert "128" in many.err
