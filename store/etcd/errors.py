"""etcd's errors: a gRPC status code and a text that clients compare exactly, beside ours. Pure.

`told` says one of ours as etcd would, `meant` reads one of etcd's. The texts and codes are etcd's interface
(etcd API reference v3; probed on 3.4.23).
"""

from dataclasses import dataclass
from enum import IntEnum

from .. import errors as ours
from ..errors import StoreError


class Code(IntEnum):
    """gRPC's status codes (gRPC core, "Status codes and their use")."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class EtcdError(Exception):
    """What a call answers instead of a response."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = Code(code), text


@dataclass(frozen=True, slots=True)
class _Row:
    """One error: etcd's code and text, our class (the first row of a class is what it is told as), and what a person
    can do about it."""

    code: Code
    text: str
    error: type[StoreError]
    advice: str = ""


_TABLE = (
    _Row(Code.INVALID_ARGUMENT, "etcdserver: key is not provided", ours.EmptyKey, "give a key"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: key not found", ours.NoKey, "put it with a value first"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: value is provided", ours.ValueGiven, "give a value or keep the old one"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: lease is provided", ours.LeaseGiven, "give a lease or keep the old one"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request", ours.TooManyOps, "split it"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", ours.DuplicateKey, "change it once"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: request is too large", ours.TooLarge, "keep the bulk in files"),
    _Row(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", ours.Compacted, "read it again"),
    _Row(Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", ours.Future),
    _Row(
        Code.RESOURCE_EXHAUSTED,
        "etcdserver: mvcc: database space exceeded",
        ours.NoSpace,
        "compact, defragment, then: hawser kv alarm disarm",
    ),
    _Row(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", ours.Unavailable, "try again"),
    _Row(Code.NOT_FOUND, "etcdserver: requested lease not found", ours.LeaseNotFound, "grant a new one"),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: lease already exists", ours.LeaseExists, "choose another id, or none"),
    _Row(Code.OUT_OF_RANGE, "etcdserver: too large lease TTL", ours.TtlTooLarge, "at most 9,000,000,000 s"),
    _Row(Code.NOT_FOUND, "etcdserver: member not found", ours.NotFound, "see: hawser kv member ls"),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: member ID already exist", ours.Conflict),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists", ours.Conflict),
    _Row(
        Code.FAILED_PRECONDITION,
        "etcdserver: re-configuration failed due to not enough started members",
        ours.Conflict,
        "start the members that are down first",
    ),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid", ours.Invalid),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member", ours.Conflict),
    _Row(
        Code.FAILED_PRECONDITION,
        "etcdserver: can only promote a learner member which is in sync with leader",
        ours.Conflict,
        "wait until it has caught up",
    ),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster", ours.Conflict),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee", ours.Conflict),
    _Row(Code.PERMISSION_DENIED, "etcdserver: permission denied", ours.Denied, "ask for a role that may"),
    # Maintenance does not translate its own errors
    _Row(Code.UNKNOWN, "auth: permission denied", ours.Denied, "ask for a role that may"),
    _Row(
        Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password", ours.Denied, "log in"
    ),
    _Row(Code.UNAUTHENTICATED, "etcdserver: invalid auth token", ours.Denied, "log in again"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: user name is empty", ours.Denied, "say who asks: --user NAME"),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: invalid auth management", ours.Denied),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", ours.Conflict),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: root user does not exist", ours.Conflict, "add the user root"),
    _Row(
        Code.FAILED_PRECONDITION, "etcdserver: root user does not have root role", ours.Conflict, "grant it role root"
    ),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: user name already exists", ours.Conflict),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: user name not found", ours.NotFound),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: role name already exists", ours.Conflict),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: role name not found", ours.NotFound),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: role name is empty", ours.Invalid),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: role is not granted to the user", ours.NotFound),
    _Row(Code.FAILED_PRECONDITION, "etcdserver: permission is not granted to the role", ours.NotFound),
    _Row(Code.INVALID_ARGUMENT, "etcdserver: permission not given", ours.Invalid),
    _Row(Code.DATA_LOSS, "etcdserver: corrupt cluster", ours.Corrupt),
    _Row(Code.UNAVAILABLE, "etcdserver: server stopped", ours.Unavailable),
)
_BY_TEXT = {row.text: row for row in _TABLE}
_BY_CLASS = {row.error: row for row in reversed(_TABLE)}
# what is in no table, by what the caller can do
_OTHERWISE: tuple[tuple[type[StoreError], Code], ...] = (
    (ours.Invalid, Code.INVALID_ARGUMENT),
    (ours.NotFound, Code.NOT_FOUND),
    (ours.Conflict, Code.FAILED_PRECONDITION),
    (ours.Denied, Code.PERMISSION_DENIED),
    (ours.Unavailable, Code.UNAVAILABLE),
    (ours.Corrupt, Code.DATA_LOSS),
)
_EXACT = (ours.Invalid, ours.NotFound, ours.Conflict, ours.Unavailable)
_KINDS: dict[Code, type[StoreError]] = {
    Code.INVALID_ARGUMENT: ours.Invalid,
    Code.OUT_OF_RANGE: ours.Invalid,
    Code.UNIMPLEMENTED: ours.Invalid,
    Code.NOT_FOUND: ours.NotFound,
    Code.ALREADY_EXISTS: ours.Conflict,
    Code.FAILED_PRECONDITION: ours.Conflict,
    Code.ABORTED: ours.Conflict,
    Code.PERMISSION_DENIED: ours.Denied,
    Code.UNAUTHENTICATED: ours.Denied,
    Code.DATA_LOSS: ours.Corrupt,
    Code.CANCELLED: ours.Unavailable,
    Code.DEADLINE_EXCEEDED: ours.Unavailable,
    Code.RESOURCE_EXHAUSTED: ours.Unavailable,
    Code.UNAVAILABLE: ours.Unavailable,
}


def told(error: StoreError) -> EtcdError:
    """One of our errors as etcd says it; what etcd has no words for in our own. An error that brings etcd's code and
    text with it (auth) is told as such."""
    code, text = getattr(error, "code", None), getattr(error, "text", None)
    if isinstance(code, int) and isinstance(text, str):
        return EtcdError(code, text)
    row = None if type(error) in _EXACT else _BY_CLASS.get(type(error))
    if row is not None:
        return EtcdError(row.code, row.text)
    code = next((code for kind, code in _OTHERWISE if isinstance(error, kind)), Code.UNKNOWN)
    return EtcdError(code, f"hawser: {error}")


def meant(code: int, text: str) -> StoreError:
    """One of etcd's errors as ours. A text that is not known goes by its code."""
    row = _BY_TEXT.get(text)
    if row is None:
        kind = _KINDS.get(Code(code), StoreError) if code in Code.__members__.values() else StoreError
        return kind(text.removeprefix("hawser: "))
    plain = row.text.removeprefix("etcdserver: ").removeprefix("mvcc: ").removeprefix("auth: ")
    return row.error(f"{plain}; {row.advice}" if row.advice else plain)
