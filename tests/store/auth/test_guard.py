"""Who may do what: what etcd 3.4 does not check or cannot be asked; `test_against_etcd.py` compares verdicts."""

from collections.abc import Callable

import pytest

from hawser.store.auth import (
    ROOT,
    Anonymous,
    AuthState,
    Guard,
    Identity,
    Need,
    OldRevision,
    Permission,
    PermissionDenied,
    Right,
    Role,
    User,
    UserNotFound,
)
from hawser.store.kv import Compare, DeleteOp, PutOp, RangeOp, Target, TxnOp

STATE = AuthState(
    enabled=True,
    revision=5,
    users={
        ROOT: User(name=ROOT, password="hash", roles=(ROOT,)),
        "u": User(name="u", password="hash", roles=("r", "w")),
        "v": User(name="v"),
    },
    roles={
        "r": Role(name="r", permissions=(Permission(Right.READ, b"r/", b"r0"), Permission(Right.READWRITE, b"x"))),
        "w": Role(name="w", permissions=(Permission(Right.WRITE, b"w/", b"w0"),)),
    },
)
GUARD = Guard(STATE)
U, SOMEROOT = Identity("u", 5), Identity(ROOT, 5)


def no_keys(lease: int) -> tuple[bytes, ...]:
    return ()


def txn(*then: PutOp[bytes] | DeleteOp[bytes] | RangeOp[bytes] | TxnOp[bytes]) -> Callable[[Identity], None]:
    return lambda who: GUARD.txn(who, TxnOp((), then), no_keys)


@pytest.mark.parametrize(
    "do",
    [
        lambda who: GUARD.range(who, b"r/1"),
        lambda who: GUARD.range(who, b"r/", b"r0"),
        lambda who: GUARD.put(who, b"w/1"),
        lambda who: GUARD.put(who, b"x", prev_kv=True),
        lambda who: GUARD.put(who, b"x", leased=(b"w/1", b"x")),
        lambda who: GUARD.delete(who, b"w/", b"w0"),
        lambda who: GUARD.delete(who, b"x", prev_kv=True),
        lambda who: GUARD.lease_keys(who, (b"r/1", b"x")),
        txn(PutOp(b"w/1", b""), RangeOp(b"r/", prefix=True), DeleteOp(b"w/", prefix=True)),
        txn(TxnOp((Compare(b"r/", Target.VERSION, "=", 0, prefix=True),), (PutOp(b"x", b"", prev_kv=True),))),
    ],
)
def test_granted(do: Callable[[Identity], None]) -> None:
    do(U)
    do(SOMEROOT)


@pytest.mark.parametrize(
    "do",
    [
        lambda who: GUARD.range(who, b"w/1"),
        lambda who: GUARD.range(who, b"r/", b"\0"),
        lambda who: GUARD.range(who, b"x", b"\0"),
        lambda who: GUARD.range(who, b"r/", b"r00"),
        lambda who: GUARD.put(who, b"r/1"),
        lambda who: GUARD.put(who, b"w/1", prev_kv=True),
        lambda who: GUARD.put(who, b"w/1", leased=(b"w/1", b"r/1")),
        lambda who: GUARD.delete(who, b"w/1", prev_kv=True),
        lambda who: GUARD.lease_keys(who, (b"r/1", b"w/1")),
        txn(RangeOp(b"", prefix=True)),
        txn(RangeOp(b"w/", prefix=True)),
        txn(PutOp(b"w/1", b"", prev_kv=True)),
        txn(DeleteOp(b"w/1", prev_kv=True)),
        txn(TxnOp((), (), (RangeOp(b"w/1"),))),
        txn(TxnOp((Compare(b"w/1", Target.VERSION, "=", 0),))),
        lambda who: GUARD.txn(who, TxnOp((), (), (PutOp(b"x", b"", lease=7),)), lambda lease: (b"r/1",)),
    ],
)
def test_denied(do: Callable[[Identity], None]) -> None:
    with pytest.raises(PermissionDenied):
        do(U)
    do(SOMEROOT)


@pytest.mark.parametrize("prefix", [b"", b"\xff", b"a\xff"])
def test_a_prefix_is_all_that_begins_with_it(prefix: bytes) -> None:
    def granted(permission: Permission) -> Guard:
        role = Role(name="r", permissions=(permission,))
        users = {**STATE.users, "u": User(name="u", roles=("r",))}
        return Guard(AuthState(enabled=True, revision=5, users=users, roles={"r": role}))

    end = {b"": b"\0", b"\xff": b"\0", b"a\xff": b"b"}[prefix]
    ask = TxnOp((), (RangeOp(prefix, prefix=True),))
    granted(Permission(Right.READ, prefix or b"\0", end)).txn(U, ask, no_keys)
    with pytest.raises(PermissionDenied):
        granted(Permission(Right.READ, prefix + b"\0\0", end)).txn(U, ask, no_keys)


def test_who_may_be_asked_for_an_identity() -> None:
    with pytest.raises(Anonymous):
        GUARD.range(None, b"r/1")
    with pytest.raises(OldRevision):
        GUARD.range(Identity("u", 4), b"r/1")
    with pytest.raises(OldRevision):
        GUARD.range(Identity(ROOT, 4), b"r/1")
    with pytest.raises(PermissionDenied):
        GUARD.range(Identity("ghost", 5), b"r/1")


def test_an_old_root_still_manages() -> None:
    GUARD.root(Identity(ROOT, 1))
    with pytest.raises(Anonymous):
        GUARD.root(None)
    with pytest.raises(Anonymous):
        GUARD.root(Identity("", 5))
    with pytest.raises(UserNotFound):
        GUARD.root(Identity("ghost", 5))
    with pytest.raises(PermissionDenied):
        GUARD.root(U)


def test_users_may_look_at_themselves_and_at_their_roles() -> None:
    GUARD.user(U, "u")
    GUARD.role(U, "r")
    for look, name in ((GUARD.user, "v"), (GUARD.role, ROOT), (GUARD.role, "nope")):
        with pytest.raises(PermissionDenied):
            look(U, name)
        look(SOMEROOT, name)


def test_calls_for_users_are_not_for_nobody() -> None:
    GUARD.admit(Identity("v", 1), Need.USER)
    for nobody in (None, Identity("ghost", 5)):
        with pytest.raises(Anonymous):
            GUARD.admit(nobody, Need.USER)
        for need in (Need.NOTHING, Need.TOKEN, Need.KEYS, Need.SELF):
            GUARD.admit(nobody, need)
    with pytest.raises(PermissionDenied):
        GUARD.admit(U, Need.ROOT)


def test_disabled_everybody_may_do_everything() -> None:
    guard = Guard(AuthState())
    guard.range(None, b"a", b"\0")
    guard.put(None, b"a", prev_kv=True, leased=(b"b",))
    guard.root(None)
    guard.user(None, "u")
    for need in Need:
        guard.admit(None, need)
