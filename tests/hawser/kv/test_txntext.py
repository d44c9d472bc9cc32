"""The text form of a transaction: what each line means."""

import pytest

from hawser.cli.kv.txntext import parse, parse_compare, parse_op, unquoted
from hawser.faults import Fault
from hawser.store import Compare, DeleteOp, PutOp, RangeOp, SortBy, Target, TxnOp


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", b"plain"),
        ('"a b"', b"a b"),
        (r'"\n\t\"\\"', b'\n\t"\\'),
        (r'"\x00\xff"', b"\0\xff"),
        (r'"\101\u00e9\U0001f600"', "Aé😀".encode()),
        (r"'\n'", rb"\n"),
        ("`\"'`", b"\"'"),
        ('""', b""),
    ],
)
def test_quotes(text: str, value: bytes) -> None:
    assert unquoted(text) == value


@pytest.mark.parametrize(
    ("line", "compare"),
    [
        ('mod("k") > "0"', Compare(b"k", Target.MOD, ">", 0)),
        ('m("k")>0', Compare(b"k", Target.MOD, ">", 0)),
        ('c("k") = 3', Compare(b"k", Target.CREATE, "=", 3)),
        ('ver("k") < "9"', Compare(b"k", Target.VERSION, "<", 9)),
        ('  val("a b") != "x y" ', Compare(b"a b", Target.VALUE, "!=", b"x y")),
        ('value("k") = 7', Compare(b"k", Target.VALUE, "=", b"7")),
        ('lease("k") = "1f"', Compare(b"k", Target.LEASE, "=", 31)),
    ],
)
def test_compares(line: str, compare: Compare[bytes]) -> None:
    assert parse_compare(line) == compare


@pytest.mark.parametrize(
    ("line", "op"),
    [
        ("put k v", PutOp(b"k", b"v")),
        ('put k "--lease" --lease=1f', PutOp(b"k", b"--lease", 31)),
        ("put --lease 1f -- k --v", PutOp(b"k", b"--v", 31)),
        ("put k --ignore-value --prev-kv", PutOp(b"k", b"", 0, True, True)),
        ("get k", RangeOp(b"k")),
        ("get a z --limit 2", RangeOp(b"a", b"z", limit=2)),
        ("get --prefix '' --keys-only", RangeOp(b"", prefix=True, keys_only=True)),
        ("get a --from-key", RangeOp(b"a", b"\0")),
        ("get a --order DESCEND --sort-by MODIFY", RangeOp(b"a", sort=SortBy.MOD, descending=True)),
        ("del k --prev-kv", DeleteOp(b"k", prev_kv=True)),
        ("del a --range b", DeleteOp(b"a", b"b")),
    ],
)
def test_operations(line: str, op: object) -> None:
    assert parse_op(line) == op


@pytest.mark.parametrize(
    "line",
    [
        *('"put', "put", "put k", "put k v w", "put k v --lease z", r'put k "\q"'),
        *("get", "get a b c", "get a b --prefix", "get a --limit x", "get a --limit", "get a --order sideways"),
        *("jump k", "del a --keys-only"),
    ],
)
def test_a_line_that_makes_no_sense(line: str) -> None:
    with pytest.raises(ValueError):
        parse_op(line)


def test_blocks_may_be_empty_or_left_out() -> None:
    nothing: TxnOp[bytes] = TxnOp()
    assert parse("") == nothing
    assert parse("\nget a") == TxnOp((), (RangeOp(b"a"),), ())
    assert parse("\n\nget a\n\n\n\n") == TxnOp((), (), (RangeOp(b"a"),))
    with pytest.raises(Fault, match="line 4"):
        parse("\n\n\nget a")
