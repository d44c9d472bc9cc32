"""The JSON form of a transaction, and its result in JSON. Pure.

    {"compare": [{"key": "a", "target": "mod", "op": ">", "value": 0}],
     "success": [{"put": {"key": "a", "value": "x"}}, {"get": {"key": "/", "prefix": true}}],
     "failure": [{"del": {"key": "a"}}, {"txn": {"compare": [], "success": [], "failure": []}}]}

Bytes are written as everywhere (words.py), leases in hex; what is not known is refused with its path.
"""

import base64
from typing import Any

import msgspec

from hawser.store import (
    Compare,
    DeleteOp,
    DeleteResult,
    Op,
    PutOp,
    PutResult,
    RangeOp,
    RangeResult,
    SortBy,
    Target,
    TxnOp,
    TxnResult,
)
from hawser.store.kv import Result

from ...faults import Fault
from . import words


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Base64(_Strict):
    base64: str


Text = str | Base64


class CompareForm(_Strict):
    key: Text
    target: Target
    op: str
    value: int | str | Base64
    end: Text | None = None
    prefix: bool = False


class PutForm(_Strict):
    key: Text
    value: Text = ""
    lease: str = "0"
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


class GetForm(_Strict):
    key: Text
    end: Text | None = None
    prefix: bool = False
    limit: int = 0
    revision: int = 0
    keys_only: bool = False
    count_only: bool = False
    sort: SortBy | None = None
    descending: bool = False
    min_mod: int = 0
    max_mod: int = 0
    min_create: int = 0
    max_create: int = 0


class DelForm(_Strict):
    key: Text
    end: Text | None = None
    prefix: bool = False
    prev_kv: bool = False


class OpForm(_Strict):
    put: PutForm | None = None
    get: GetForm | None = None
    delete: DelForm | None = msgspec.field(default=None, name="del")
    txn: "TxnForm | None" = None


class TxnForm(_Strict):
    compare: list[CompareForm] = []
    success: list[OpForm] = []
    failure: list[OpForm] = []


def parse(text: bytes) -> TxnOp[bytes]:
    """A transaction. Fault."""
    try:
        return _txn(msgspec.json.decode(text, type=TxnForm))
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise Fault(f"the transaction's JSON: {error}", "usage") from None


def _txn(form: TxnForm) -> TxnOp[bytes]:
    then, otherwise = (tuple(map(_op, ops)) for ops in (form.success, form.failure))
    return TxnOp(tuple(map(_compare, form.compare)), then, otherwise)


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else base64.b64decode(text.base64, validate=True)


def _end(text: Text | None) -> bytes | None:
    return None if text is None else _bytes(text)


def _lease(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise ValueError(f"{text!r} is no lease; a lease is hex in quotes") from None


def _compare(form: CompareForm) -> Compare[bytes]:
    value = form.value
    if form.op not in ("=", "!=", "<", ">"):
        raise ValueError(f"{form.op!r} is no comparison; it is one of = != < >")
    if form.target is Target.VALUE and isinstance(value, int):
        raise ValueError("a value is compared with text or base64, not with a number")
    if form.target is Target.LEASE and isinstance(value, str):
        value = _lease(value)
    elif form.target is not Target.VALUE and not isinstance(value, int):
        raise ValueError(f"{form.target} is compared with a number")
    raw = value if isinstance(value, int) else _bytes(value)
    return Compare(_bytes(form.key), form.target, form.op, raw, _end(form.end), form.prefix)


def _op(form: OpForm) -> Op[bytes]:
    given = [each for each in (form.put, form.get, form.delete, form.txn) if each is not None]
    if len(given) != 1:
        raise ValueError("an operation is one of put, get, del, txn")
    if (put := form.put) is not None:
        value, lease = _bytes(put.value), _lease(put.lease)
        return PutOp(_bytes(put.key), value, lease, put.prev_kv, put.ignore_value, put.ignore_lease)
    if (delete := form.delete) is not None:
        return DeleteOp(_bytes(delete.key), _end(delete.end), delete.prefix, delete.prev_kv)
    if (get := form.get) is not None:
        fields = msgspec.structs.asdict(get) | {"key": _bytes(get.key), "end": _end(get.end)}
        return RangeOp(**fields)
    assert form.txn is not None
    return _txn(form.txn)


def result(op: TxnOp[bytes], done: TxnResult[bytes]) -> dict[str, Any]:
    """A transaction's result in JSON; each operation's as its verb's."""
    ran = op.then if done.succeeded else op.otherwise
    results = [_result(each, found) for each, found in zip(ran, done.results, strict=True)]
    return {"succeeded": done.succeeded, "revision": done.revision, "results": results}


def _result(op: Op[bytes], found: Result[bytes]) -> dict[str, Any]:
    if isinstance(found, TxnResult):
        assert isinstance(op, TxnOp)
        return result(op, found)
    if isinstance(found, RangeResult):
        return {"count": found.count, "more": found.more, "kvs": [words.entry(kv) for kv in found.kvs]}
    if isinstance(found, PutResult):
        return {"revision": found.revision, "prev": found.prev and words.entry(found.prev)}
    if isinstance(found, DeleteResult):
        return {"deleted": found.count, "prev": [words.entry(kv) for kv in found.prev]}
    return {"revision" if isinstance(op, PutOp) else "deleted": found}
