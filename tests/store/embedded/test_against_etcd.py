"""The same operations on the embedded engine and on a real etcd, and whole answers compared, revisions aligned."""

import asyncio
import base64
import json
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from hawser.store import (
    Compacted,
    Compare,
    DeleteOp,
    DeleteResult,
    DuplicateKey,
    Future,
    KeyValue,
    MemoryStore,
    NoKey,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    Result,
    SortBy,
    StoreError,
    Target,
    TxnOp,
    TxnResult,
)
from tests.wait import until

pytestmark = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="compares with a real etcd: needs Debian's etcd-server"
)
MEANS = {
    "key not found": NoKey,
    "duplicate key given in txn request": DuplicateKey,
    "required revision is a future revision": Future,
    "required revision has been compacted": Compacted,
}
KEYS = st.sampled_from(["a", "a/", "a/b", "b", "c"])
ENDS = st.one_of(st.none(), st.sampled_from(["a0", "b", "\0"]))
VALUES = st.sampled_from([b"", b"1", b"2"])
REVISIONS = st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8])
PUTS = st.builds(PutOp, KEYS, VALUES, prev_kv=st.booleans()) | st.builds(
    PutOp, KEYS, st.just(b""), ignore_value=st.just(True)
)
# etcd overlooks that a delete from a key on, or one in a later nested transaction, meets a put; we refuse both
DELETES = st.builds(DeleteOp, KEYS, st.sampled_from([None, "a0", "b"]), prev_kv=st.booleans())
RANGES = st.builds(
    RangeOp,
    KEYS,
    ENDS,
    limit=st.integers(0, 2),
    revision=REVISIONS,
    keys_only=st.booleans(),
    count_only=st.booleans(),
    sort=st.none() | st.sampled_from(SortBy),
    descending=st.booleans(),
    min_mod=st.sampled_from([0, 0, 3]),
    max_create=st.sampled_from([0, 0, 4]),
)
NUMBERS = st.sampled_from([Target.VERSION, Target.CREATE, Target.MOD, Target.LEASE])
SIGNS = st.sampled_from(["=", "!=", "<", ">"])
COMPARES = st.builds(Compare, KEYS, NUMBERS, SIGNS, st.integers(0, 4), ENDS) | st.builds(
    Compare, KEYS, st.just(Target.VALUE), SIGNS, VALUES, ENDS
)
BASIC = PUTS | DELETES | RANGES


def txns(inner: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    few = st.lists(inner, max_size=3)
    return BASIC | st.builds(TxnOp, st.lists(COMPARES, max_size=2), few, few)


OPS = st.lists(txns(txns(BASIC)) | st.integers(1, 8), max_size=12)


class Etcd:
    """Its JSON gateway; revisions counted from `offset`."""

    def __init__(self, url: str) -> None:
        self.url, self.offset = url, 0

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))

    def empty(self) -> None:
        self.call("/v3/kv/put", {"key": b64("x"), "value": ""})
        answer = self.call("/v3/kv/deleterange", {"key": b64("\0"), "range_end": b64("\0")})
        self.offset = int(answer["header"]["revision"]) - 1


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory(prefix="hw-etcd-") as directory:
        command = ["etcd", "--data-dir", directory, "--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"default={peer}", "--unsafe-no-fsync"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                until(lambda: _healthy(client), timeout=20, what="etcd answers")
                yield Etcd(client)
            finally:
                process.terminate()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health", timeout=1) as answer:
            return b"true" in answer.read()
    except OSError:
        return False


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def asked(op: Op, offset: int) -> dict[str, Any]:
    """An operation as etcd's JSON."""

    def revision(number: int) -> int:
        return number + offset if number else 0

    if isinstance(op, TxnOp):
        return {
            "compare": [compared(compare, offset) for compare in op.compares],
            "success": [{KIND[type(inner)]: asked(inner, offset)} for inner in op.then],
            "failure": [{KIND[type(inner)]: asked(inner, offset)} for inner in op.otherwise],
        }
    body: dict[str, Any] = {"key": b64(op.key)}
    if isinstance(op, PutOp):
        return body | {"value": b64(op.value), "prev_kv": op.prev_kv, "ignore_value": op.ignore_value}
    body |= {"range_end": b64(op.end)} if op.end is not None else {}
    if isinstance(op, DeleteOp):
        return body | {"prev_kv": op.prev_kv}
    body |= {"limit": op.limit, "revision": revision(op.revision), "keys_only": op.keys_only}
    body |= {"count_only": op.count_only, "min_mod_revision": revision(op.min_mod)}
    body |= {"max_create_revision": revision(op.max_create)}
    if op.sort is not None or op.descending:
        body["sort_target"] = (op.sort or SortBy.KEY).name
        body["sort_order"] = "DESCEND" if op.descending else "ASCEND"
    return body


KIND: dict[type, str] = {
    PutOp: "requestPut",
    DeleteOp: "requestDeleteRange",
    RangeOp: "requestRange",
    TxnOp: "requestTxn",
}
SIGN = {"=": "EQUAL", "!=": "NOT_EQUAL", "<": "LESS", ">": "GREATER"}
FIELD = {
    Target.VERSION: "version",
    Target.CREATE: "create_revision",
    Target.MOD: "mod_revision",
    Target.VALUE: "value",
    Target.LEASE: "lease",
}


def compared(compare: Compare, offset: int) -> dict[str, Any]:
    value: Any = b64(compare.value) if isinstance(compare.value, bytes) else compare.value
    if compare.target in (Target.CREATE, Target.MOD) and compare.value:
        value += offset
    body = {
        "key": b64(compare.key),
        "result": SIGN[compare.op],
        "target": compare.target.name,
        FIELD[compare.target]: value,
    }
    return body | ({"range_end": b64(compare.end)} if compare.end is not None else {})


def entry(have: dict[str, Any], offset: int) -> KeyValue:
    return KeyValue(
        key=base64.b64decode(have["key"]).decode(),
        value=base64.b64decode(have.get("value", "")),
        create_revision=int(have["create_revision"]) - offset,
        mod_revision=int(have["mod_revision"]) - offset,
        version=int(have["version"]),
    )


def told(op: Op, answer: dict[str, Any], offset: int) -> Result:
    """etcd's answer as ours; a nested transaction's has no revision."""
    revision = int(answer.get("header", {}).get("revision", offset)) - offset
    if isinstance(op, TxnOp):
        held = answer.get("succeeded", False)
        pairs = zip(op.then if held else op.otherwise, answer.get("responses", []), strict=True)
        results = tuple(told(inner, next(iter(response.values())), offset) for inner, response in pairs)
        return TxnResult(succeeded=held, revision=revision, results=results)
    if isinstance(op, PutOp):
        prev = entry(answer["prev_kv"], offset) if "prev_kv" in answer else None
        return PutResult(revision=revision, prev=prev) if op.prev_kv else revision
    if isinstance(op, DeleteOp):
        gone = tuple(entry(have, offset) for have in answer.get("prev_kvs", []))
        count = int(answer.get("deleted", 0))
        return DeleteResult(count=count, prev=gone) if op.prev_kv else count
    kvs = tuple(entry(have, offset) for have in answer.get("kvs", []))
    count = int(answer.get("count", 0))
    return RangeResult(kvs=kvs, revision=revision, more=answer.get("more", False), count=count)


def bare(result: Result, outermost: bool = True) -> Result:
    """Ours without the revisions of nested transactions, which etcd does not tell."""
    if not isinstance(result, TxnResult):
        return result
    inner = tuple(bare(each, False) for each in result.results)
    return TxnResult(succeeded=result.succeeded, revision=result.revision if outermost else 0, results=inner)


PATH: dict[type, str] = {PutOp: "put", DeleteOp: "deleterange", RangeOp: "range", TxnOp: "txn"}


def theirs(etcd: Etcd, op: Op | int) -> object:
    if isinstance(op, int):
        answer = etcd.call("/v3/kv/compaction", {"revision": op + etcd.offset})
    else:
        answer = etcd.call(f"/v3/kv/{PATH[type(op)]}", asked(op, etcd.offset))
    if "error" in answer:
        return next((kind for text, kind in MEANS.items() if text in answer["error"]), answer["error"])
    return None if isinstance(op, int) else told(op, answer, etcd.offset)


def siblings(op: Op | int) -> bool:
    """Whether transactions are nested beside each other."""
    if not isinstance(op, TxnOp):
        return False
    return any(
        sum(isinstance(inner, TxnOp) for inner in branch) > 1 or any(map(siblings, branch))
        for branch in (op.then, op.otherwise)
    )


async def ours(store: MemoryStore, op: Op | int) -> object:
    try:
        if not isinstance(op, int):
            return bare(await store.apply(op))
        await store.compact(op)
    except StoreError as error:
        return type(error)
    return None


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ops=OPS)
def test_every_answer_is_etcds(etcd: Etcd, ops: list[Op | int]) -> None:
    etcd.empty()
    etcd.call("/v3/kv/compaction", {"revision": etcd.offset + 1})

    async def both() -> None:
        store = MemoryStore()
        await store.compact(1) if store.raw.kept_from() < 2 else None
        for op in ops:
            have, want = await ours(store, op), theirs(etcd, op)
            if have is DuplicateKey and want is not DuplicateKey and siblings(op):
                break
            assert have == want, op
        await store.close()

    asyncio.run(both())
