"""The same changes, questions and requests to our model and to a real etcd, and the same answers."""

import base64
import hmac
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from hawser.store.auth import (
    NEEDS_3_4,
    ROOT,
    AuthError,
    AuthState,
    Guard,
    Identity,
    InvalidToken,
    Need,
    Permission,
    Right,
    answer,
    change,
)
from hawser.store.auth.jwt import JwtTokens, load_key
from hawser.store.kv import Compare, DeleteOp, Op, PutOp, RangeOp, Target, TxnOp

from .real import SECRET, TOKENS, RealEtcd, Refusal, b64, running

pytestmark = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="compares with a real etcd: needs Debian's etcd-server"
)
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def etcd() -> Iterator[RealEtcd]:
    with running() as real:
        yield real


@dataclass(frozen=True)
class Change:
    """One call, as etcd's gateway and as our model have it."""

    call: str
    path: str
    body: dict[str, Any]
    apply: Callable[[AuthState], AuthState]


def add_user(name: str, password: bool) -> Change:
    body = {"name": name, "password": "pw", "options": {"no_password": not password}}
    return Change(
        "Auth/UserAdd", "user/add", body, lambda state: change.add_user(state, name, "pw" if password else None)
    )


def delete_user(name: str) -> Change:
    return Change("Auth/UserDelete", "user/delete", {"name": name}, lambda state: change.delete_user(state, name))


def change_password(name: str) -> Change:
    body = {"name": name, "password": "pw"}
    return Change(
        "Auth/UserChangePassword", "user/changepw", body, lambda state: change.change_password(state, name, "pw")
    )


def grant_role(name: str, role: str) -> Change:
    body = {"user": name, "role": role}
    return Change("Auth/UserGrantRole", "user/grant", body, lambda state: change.grant_role(state, name, role))


def revoke_role(name: str, role: str) -> Change:
    body = {"name": name, "role": role}
    return Change("Auth/UserRevokeRole", "user/revoke", body, lambda state: change.revoke_role(state, name, role))


def add_role(name: str) -> Change:
    return Change("Auth/RoleAdd", "role/add", {"name": name}, lambda state: change.add_role(state, name))


def delete_role(name: str) -> Change:
    return Change("Auth/RoleDelete", "role/delete", {"role": name}, lambda state: change.delete_role(state, name))


def grant_permission(name: str, permission: Permission) -> Change:
    body = {"name": name, "perm": permission_json(permission)}
    return Change(
        "Auth/RoleGrantPermission",
        "role/grant",
        body,
        lambda state: change.grant_permission(state, name, permission),
    )


def revoke_permission(name: str, key: bytes, end: bytes) -> Change:
    body = {"role": name, "key": b64(key), "range_end": b64(end)}
    return Change(
        "Auth/RoleRevokePermission",
        "role/revoke",
        body,
        lambda state: change.revoke_permission(state, name, key, end),
    )


def permission_json(permission: Permission) -> dict[str, str]:
    return {"permType": permission.right.name, "key": b64(permission.key), "range_end": b64(permission.end)}


ENABLE = Change("Auth/AuthEnable", "enable", {}, change.enable)
DISABLE = Change("Auth/AuthDisable", "disable", {}, change.disable)

USERS = st.sampled_from(["u", "u", "v", ROOT])
NAMES = USERS | st.sampled_from(["", "é"])
ROLES = st.sampled_from(["r", "r", "s", ROOT])
KEYS = st.sampled_from([b"a", b"a\0", b"b", b"c", b"d"])
ENDS = st.sampled_from([b"", b"", b"b", b"c", b"e", b"\0"])
PERMISSIONS = st.builds(Permission, st.sampled_from(Right), KEYS, ENDS)
CHANGES = st.one_of(
    st.builds(add_user, NAMES, st.booleans()),
    st.builds(delete_user, USERS),
    st.builds(change_password, USERS),
    st.builds(grant_role, USERS, ROLES),
    st.builds(revoke_role, USERS, ROLES),
    st.builds(add_role, ROLES | st.just("")),
    st.builds(delete_role, ROLES),
    st.builds(grant_permission, ROLES, PERMISSIONS),
    st.builds(grant_permission, st.just("r"), PERMISSIONS),
    st.builds(revoke_permission, ROLES, KEYS, ENDS),
    st.sampled_from([ENABLE, DISABLE]),
)
CALLERS = st.sampled_from([ROOT, ROOT, ROOT, ROOT, None, "u"])
START = [add_user(ROOT, True), grant_role(ROOT, ROOT), add_user("u", True), add_role("r"), grant_role("u", "r")]


def refused(do: Callable[[], object]) -> Refusal:
    try:
        do()
    except AuthError as error:
        return error.code, error.text
    return None


def known(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Our answer as the gateway tells it."""
    try:
        return ask()
    except AuthError as error:
        return {"code": error.code, "error": error.text}


def made(state: AuthState, step: Change, who: Identity | None) -> tuple[AuthState, Refusal]:
    """Our next state, and whether we refused to go there."""
    try:
        Guard(state).admit(who, NEEDS_3_4[step.call])
        return step.apply(state), None
    except AuthError as error:
        return state, (error.code, error.text)


def both(etcd: RealEtcd, state: AuthState, step: Change, caller: str | None) -> AuthState:
    who = Identity(caller, state.revision) if caller else None
    after, ours = made(state, step, who)
    assert etcd.refusal(f"auth/{step.path}", step.body, etcd.token(caller, state.revision)) == ours, step
    return after


def check_answers(etcd: RealEtcd, state: AuthState, caller: str | None) -> None:
    """All that can be asked about users and roles, by root or another."""
    who = Identity(caller, state.revision) if caller else None
    token = etcd.token(caller, state.revision)
    guard = Guard(state)

    def ask(path: str, body: dict[str, Any], admit: Callable[[], object], ours: Callable[[], dict[str, Any]]) -> None:
        told = etcd.call(f"auth/{path}", body, token)

        def answered() -> dict[str, Any]:
            admit()
            return ours()

        want = known(answered)
        assert {key: told.get(key) for key in ("code", "error", *want)} == {"code": None, "error": None, **want}, path

    users, roles = list(state.user_names()), list(state.role_names())
    ask("user/list", {}, lambda: guard.root(who), lambda: {"users": users or None})
    ask("role/list", {}, lambda: guard.root(who), lambda: {"roles": roles or None})
    for name in ("u", "v", ROOT, ""):
        ask("user/get", {"name": name}, partial(guard.user, who, name), partial(shown, state, name))
    for name in ("r", "s", ROOT):
        ask("role/get", {"role": name}, partial(guard.role, who, name), partial(listed, state, name))


def shown(state: AuthState, name: str) -> dict[str, Any]:
    return {"roles": list(state.user(name).roles) or None}


def listed(state: AuthState, name: str) -> dict[str, Any]:
    bare = [
        {key: value for key, value in permission_json(each).items() if value and value != Right.READ.name}
        for each in state.role(name).permissions
    ]
    return {"perm": bare or None}


def by_root(*steps: Change) -> list[tuple[Change, str | None]]:
    return [(step, ROOT) for step in steps]


@SETTINGS
@given(
    steps=st.lists(st.tuples(CHANGES, CALLERS), min_size=2, max_size=16),
    begun=st.sampled_from([True, True, True, False]),
)
@example(by_root(delete_role("r")), True)
@example(by_root(delete_role("r"), add_role("r")), True)
@example(by_root(add_role("s"), grant_role("u", "s"), grant_role("u", "r"), revoke_role("u", "r")), True)
@example(by_root(delete_user("u"), add_user("u", False), change_password("u"), grant_role("u", ROOT)), True)
@example(by_root(ENABLE, add_role(ROOT), delete_role(ROOT), DISABLE, delete_role(ROOT), ENABLE), True)
@example(by_root(ENABLE, delete_user(ROOT), revoke_role(ROOT, ROOT), DISABLE, delete_user(ROOT), ENABLE), True)
@example([(ENABLE, None), (add_user("v", True), None), (add_user("v", True), "u"), (ENABLE, "u")], True)
def test_every_change_and_answer_is_etcds(etcd: RealEtcd, steps: list[tuple[Change, str | None]], begun: bool) -> None:
    etcd.empty()
    state = AuthState()
    for step, caller in [*((step, None) for step in START if begun), *steps]:
        state = both(etcd, state, step, caller)
    for caller in (ROOT, "u", None):
        check_answers(etcd, state, caller)
    for step in (add_user(ROOT, True), grant_role(ROOT, ROOT), ENABLE):
        state = both(etcd, state, step, ROOT)
    token = etcd.token(ROOT, state.revision)
    assert etcd.refusal("kv/range", {"key": b64(b"a")}, token) is None, "their revision is ours"


FEW = (st.sampled_from([b"a", b"b"]), st.sampled_from([b"", b"c", b"\0"]))
GRANTS = st.builds(Permission, st.sampled_from(Right), *FEW).map(lambda permission: grant_permission("r", permission))


@SETTINGS
@given(steps=st.lists(GRANTS | GRANTS | st.builds(revoke_permission, st.just("r"), *FEW), max_size=10))
def test_permissions_of_a_role_are_kept_as_etcd_keeps_them(etcd: RealEtcd, steps: list[Change]) -> None:
    etcd.empty()
    state = AuthState()
    for step in [add_role("r"), *steps]:
        state = both(etcd, state, step, None)
    check_answers(etcd, state, None)


REQUESTS = st.recursive(
    st.one_of(
        st.builds(PutOp, KEYS, st.just(b"x"), prev_kv=st.booleans()),
        st.builds(DeleteOp, KEYS, ENDS, prev_kv=st.booleans()),
        st.builds(RangeOp, KEYS, ENDS),
        st.builds(RangeOp, KEYS, ENDS),
    ),
    # flat, and without a put's previous value: 3.4.23 looks at neither, we do
    lambda ops: st.builds(
        TxnOp,
        st.lists(st.builds(Compare, KEYS, st.just(Target.VERSION), st.just("="), st.just(0), ENDS), max_size=1),
        st.lists(ops.filter(lambda op: not isinstance(op, PutOp | TxnOp)), max_size=2),
        st.lists(st.builds(PutOp, KEYS, st.just(b"x")), max_size=1),
    ),
    max_leaves=4,
)
PATHS: dict[type, str] = {PutOp: "put", DeleteOp: "deleterange", RangeOp: "range", TxnOp: "txn"}


def request_json(op: Op[bytes]) -> dict[str, Any]:
    if isinstance(op, TxnOp):
        kinds = {PutOp: "requestPut", DeleteOp: "requestDeleteRange", RangeOp: "requestRange"}
        return {
            "compare": [
                {"key": b64(each.key), "range_end": b64(each.end or b""), "target": "VERSION", "version": 0}
                for each in op.compares
            ],
            "success": [{kinds[type(each)]: request_json(each)} for each in op.then],
            "failure": [{kinds[type(each)]: request_json(each)} for each in op.otherwise],
        }
    body: dict[str, Any] = {"key": b64(op.key)}
    if isinstance(op, PutOp):
        return body | {"value": b64(op.value), "prev_kv": op.prev_kv}
    body |= {"range_end": b64(op.end or b"")}
    return body | {"prev_kv": op.prev_kv} if isinstance(op, DeleteOp) else body


def verdict(guard: Guard, who: Identity | None, op: Op[bytes]) -> Refusal:
    if isinstance(op, TxnOp):
        return refused(lambda: guard.txn(who, op, lambda lease: ()))
    if isinstance(op, PutOp):
        return refused(lambda: guard.put(who, op.key, prev_kv=op.prev_kv))
    if isinstance(op, DeleteOp):
        return refused(lambda: guard.delete(who, op.key, op.end or b"", prev_kv=op.prev_kv))
    return refused(lambda: guard.range(who, op.key, op.end or b""))


def inverted(op: Op[bytes]) -> bool:
    """Whether it asks for a range that ends before it begins: etcd's answer hangs on how its tree has grown."""
    if isinstance(op, TxnOp):
        return any(map(inverted, (*op.then, *op.otherwise))) or any(
            backwards(each.key, each.end) for each in op.compares
        )
    return not isinstance(op, PutOp) and backwards(op.key, op.end)


def backwards(key: bytes, end: bytes | None) -> bool:
    return bool(end) and end != b"\0" and (end or b"") <= key


def with_permissions(etcd: RealEtcd, first: list[Permission], second: list[Permission]) -> AuthState:
    etcd.empty()
    state = AuthState()
    steps = [*START, add_role("s"), grant_role("u", "s")]
    steps += [grant_permission("r", each) for each in first] + [grant_permission("s", each) for each in second]
    for step in [*steps, add_user("v", True), ENABLE]:
        state = both(etcd, state, step, None)
    return state


RANGES = [
    RangeOp(key, end)
    for key in (b"a", b"a\0", b"b", b"c", b"d")
    for end in (b"", b"b", b"c", b"e", b"\0")
    if not backwards(key, end)
]


@SETTINGS
@given(
    first=st.lists(PERMISSIONS, max_size=4),
    second=st.lists(PERMISSIONS, min_size=1, max_size=4),
    requests=st.lists(REQUESTS.filter(lambda op: not inverted(op)), min_size=1, max_size=12),
)
def test_every_verdict_is_etcds(
    etcd: RealEtcd, first: list[Permission], second: list[Permission], requests: list[Op[bytes]]
) -> None:
    state = with_permissions(etcd, first, second)
    guard = Guard(state)
    asked = [("u", op) for op in (*RANGES, *requests)]
    for caller, op in [*asked, *((caller, requests[0]) for caller in ("v", "ghost", ROOT, None))]:
        who = Identity(caller, state.revision) if caller else None
        theirs = etcd.refusal(f"kv/{PATHS[type(op)]}", request_json(op), etcd.token(caller, state.revision))
        assert theirs == verdict(guard, who, op), (caller, op)


def test_an_identity_of_another_revision_is_refused_by_both(etcd: RealEtcd) -> None:
    state = with_permissions(etcd, [Permission(Right.READWRITE, b"a")], [])
    for revision in (state.revision - 1, state.revision + 1, -etcd.offset):
        who = Identity("u", max(revision, 0))
        theirs = etcd.refusal("kv/range", {"key": b64(b"a")}, etcd.token("u", revision))
        assert theirs == refused(partial(Guard(state).range, who, b"a")) is not None


def test_leases_are_guarded_by_their_keys(etcd: RealEtcd) -> None:
    state = with_permissions(etcd, [Permission(Right.READWRITE, b"a")], [])
    u, root = (etcd.token(name, state.revision) for name in ("u", ROOT))
    lease = etcd.call("lease/grant", {"TTL": "600"}, root)["ID"]
    who, guard = Identity("u", state.revision), Guard(state)
    for held in ((), (b"a",), (b"a", b"d")):
        for key in held:
            etcd.call("kv/put", {"key": b64(key), "lease": lease}, root)
        theirs = etcd.refusal("kv/put", {"key": b64(b"a"), "lease": lease}, u)
        assert theirs == refused(partial(guard.put, who, b"a", leased=held))
    for caller in (who, None):
        theirs = etcd.refusal("lease/revoke", {"ID": lease}, u if caller else None)
        assert theirs == refused(partial(guard.revoke_lease, caller, held)) is not None
    assert etcd.refusal("lease/revoke", {"ID": lease}, root) is None
    assert refused(lambda: guard.revoke_lease(Identity(ROOT, state.revision), held)) is None


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "KV/Compact": ("kv/compaction", {"revision": "1"}),
    "Lease/LeaseGrant": ("lease/grant", {"TTL": "10"}),
    "Lease/LeaseKeepAlive": ("lease/keepalive", {"ID": "77"}),
    "Lease/LeaseTimeToLive": ("lease/timetolive", {"ID": "77"}),
    "Lease/LeaseLeases": ("lease/leases", {}),
    "Cluster/MemberList": ("cluster/member/list", {}),
    "Cluster/MemberAdd": ("cluster/member/add", {"peerURLs": ["http://127.0.0.1:1"]}),
    "Cluster/MemberRemove": ("cluster/member/remove", {"ID": "77"}),
    "Cluster/MemberUpdate": ("cluster/member/update", {"ID": "77", "peerURLs": ["http://127.0.0.1:1"]}),
    "Cluster/MemberPromote": ("cluster/member/promote", {"ID": "77"}),
    "Maintenance/Status": ("maintenance/status", {}),
    "Maintenance/MoveLeader": ("maintenance/transfer-leadership", {"targetID": "77"}),
    "Maintenance/AlarmList": ("maintenance/alarm", {}),
    "Maintenance/Alarm": ("maintenance/alarm", {"action": "DEACTIVATE", "alarm": "NOSPACE"}),
    "Maintenance/Defragment": ("maintenance/defragment", {}),
    "Maintenance/Hash": ("maintenance/hash", {}),
    "Maintenance/Snapshot": ("maintenance/snapshot", {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_needs_what_the_table_says(etcd: RealEtcd, call: str) -> None:
    state = with_permissions(etcd, [], [])
    need = NEEDS_3_4[call]
    path, body = CALLS[call]
    for caller in (None, "u", "ghost", "forged"):
        ours = None
        try:
            if caller == "forged" and need is not Need.NOTHING:
                raise InvalidToken("forged")
            if caller != "forged":
                Guard(state).admit(Identity(caller, state.revision) if caller else None, need)
        except AuthError as error:
            ours = answer(call, error)
        theirs = etcd.refusal(path, body, "forged" if caller == "forged" else etcd.token(caller, state.revision))
        if theirs is not None and any(word in theirs[1] for word in ("mvcc", "lease", "leader")):
            theirs = None  # it went on to what the call is about
        assert theirs == ours, caller


def test_a_watch_is_guarded_like_a_range(etcd: RealEtcd) -> None:
    state = with_permissions(etcd, [Permission(Right.READ, b"a", b"c")], [])
    who = Identity("u", state.revision)
    for key, end in ((b"a", b""), (b"a", b"c"), (b"a", b"d"), (b"d", b"")):
        body = {"create_request": {"key": b64(key), "range_end": b64(end)}}
        told = etcd.call("watch", body, etcd.token("u", state.revision))["result"]
        ours = refused(partial(Guard(state).range, who, key, end))
        assert told.get("cancel_reason", "").endswith(f"desc = {ours[1]}") if ours else "canceled" not in told


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 60},
        {},
        {"exp": -5},
        {"exp": 60, "nbf": 30},
        {"exp": 60, "nbf": -5},
        {"exp": 60, "iat": 30},
        {"exp": 60.5},
        {"exp": 60, "revision": 0.9},
    ],
    ids=str,
)
def test_both_take_the_same_signed_tokens(etcd: RealEtcd, claims: dict[str, float]) -> None:
    state = with_permissions(etcd, [Permission(Right.READ, b"a")], [])
    now = time.time()
    times = {key: int(now) + value for key, value in claims.items() if key != "revision"}
    revision = state.revision + etcd.offset + claims.get("revision", 0)
    token = signed({"username": "u", "revision": revision, **times})
    ours = refused(lambda: TOKENS.identify(token, 0, now=now))
    assert etcd.refusal("kv/range", {"key": b64(b"a")}, token) == ours


def signed(claims: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    ]
    body = b".".join(parts)
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET, body, "sha256")).rstrip(b"=")
    return (body + b"." + signature).decode()


def test_each_knows_the_others_signed_tokens(etcd: RealEtcd) -> None:
    state = with_permissions(etcd, [], [])
    token = etcd.call("auth/authenticate", {"name": "u", "password": "pw"})["token"]
    identity = TOKENS.identify(token, 0, now=time.time())
    assert identity == Identity("u", state.revision + etcd.offset)
    other = JwtTokens(load_key("HS256", b"another secret")).issue("u", identity.revision, now=time.time())
    assert etcd.refusal("auth/user/get", {"name": "u"}, other) == (InvalidToken.code, InvalidToken.text)
