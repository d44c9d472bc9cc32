"""Who may do what in one state: etcd's checks, in its order, an error for each refusal and silence for consent.

With authentication disabled everybody may do everything. Enabled, a user needs READ on all that a request reads and
WRITE on all that it writes; previous values count as read; the role `root` may do all. A transaction needs the rights
of everything in it, whichever branch runs. A put that joins a lease needs WRITE on all its keys, for the lease's end
deletes them, and so does revoking it.

Stricter than etcd 3.4.23, which overlooks these in a transaction (nested ones, previous values and leases of puts) and
tells anybody a lease's keys: later releases close them as CVE-2023-32082 and CVE-2026-44283, and so do we.
"""

from collections.abc import Callable, Iterable, Sequence

from ..embedded.keyspace import NO_END, upper_bound
from ..kv import DeleteOp, Op, PutOp, RangeOp, TxnOp
from .errors import Anonymous, OldRevision, PermissionDenied, UserNotFound
from .model import AuthState, Identity, Right
from .needs import Need
from .spans import Spans, span

LeaseKeys = Callable[[int], Iterable[bytes]]
"""The keys that a lease holds; none when there is no such lease."""


class Guard:
    """The checks of one state; a changed state needs a new one. `who` is None for nobody in particular.

    Anonymous, OldRevision, PermissionDenied; of what only root may also UserNotFound.
    """

    def __init__(self, state: AuthState) -> None:
        self.state = state
        self._spans = dict[tuple[str, Right], Spans]()

    def range(self, who: Identity | None, key: bytes, end: bytes = b"") -> None:
        """Reading, and watching: one key, or [key, end); `end` b"\\0" is no end, in a watch too."""
        self._check(who, Right.READ, key, end)

    def delete(self, who: Identity | None, key: bytes, end: bytes = b"", *, prev_kv: bool = False) -> None:
        self._check(who, Right.WRITE, key, end)
        if prev_kv:
            self._check(who, Right.READ, key, end)

    def put(self, who: Identity | None, key: bytes, *, prev_kv: bool = False, leased: Iterable[bytes] = ()) -> None:
        """`leased`: the keys that the put's lease holds already."""
        self._check(who, Right.WRITE, key)
        self.revoke_lease(who, leased)
        if prev_kv:
            self._check(who, Right.READ, key)

    def txn(self, who: Identity | None, txn: TxnOp[bytes], lease_keys: LeaseKeys) -> None:
        for compare in txn.compares:
            self.range(who, *_asked(compare.key, compare.end, compare.prefix))
        self._branch(who, txn.then, lease_keys)
        self._branch(who, txn.otherwise, lease_keys)

    def revoke_lease(self, who: Identity | None, keys: Iterable[bytes]) -> None:
        """`keys`: those that the lease holds; one without may be revoked by anybody."""
        if who is not None and self.state.is_root(who.user):
            return
        for key in keys:
            self._check(who, Right.WRITE, key)

    def lease_keys(self, who: Identity | None, keys: Iterable[bytes]) -> None:
        """Being told the keys that a lease holds."""
        for key in keys:
            self._check(who, Right.READ, key)

    def admit(self, who: Identity | None, need: Need) -> None:
        """What can be said of a call before its content is looked at."""
        if need is Need.ROOT:
            self.root(who)
        elif need is Need.USER and self.state.enabled and (who is None or who.user not in self.state.users):
            raise Anonymous("this store knows its users, and none is given; authenticate first")

    def root(self, who: Identity | None) -> None:
        """What only root may, whatever the identity's revision."""
        if not self.state.enabled:
            return
        if who is None or not who.user:
            raise Anonymous("only root may do this, and no user is given; authenticate as root")
        if who.user not in self.state.users:
            raise UserNotFound(f"the user {who.user!r} is gone; authenticate as another")
        if not self.state.is_root(who.user):
            raise PermissionDenied(f"the user {who.user!r} may not do this; only one with the role root may")

    def user(self, who: Identity | None, name: str) -> None:
        """Looking at a user: root may, and users themselves."""
        if name != (who.user if who else ""):
            self.root(who)

    def role(self, who: Identity | None, name: str) -> None:
        """Looking at a role: root may, and users who have it."""
        user = self.state.users.get(who.user) if who else None
        if user is None or name not in user.roles:
            self.root(who)

    def _branch(self, who: Identity | None, ops: Sequence[Op[bytes]], lease_keys: LeaseKeys) -> None:
        for op in ops:
            if isinstance(op, PutOp):
                leased = lease_keys(op.lease) if op.lease else ()
                self.put(who, op.key, prev_kv=op.prev_kv, leased=leased)
            elif isinstance(op, DeleteOp):
                self.delete(who, *_asked(op.key, op.end, op.prefix), prev_kv=op.prev_kv)
            elif isinstance(op, RangeOp):
                self.range(who, *_asked(op.key, op.end, op.prefix))
            else:
                self.txn(who, op, lease_keys)

    def _check(self, who: Identity | None, right: Right, key: bytes, end: bytes = b"") -> None:
        state = self.state
        if not state.enabled:
            return
        if who is None or not who.revision:
            raise Anonymous("this store knows its users, and none is given; authenticate first")
        if who.revision != state.revision:
            raise OldRevision("users or permissions changed since this token was given; authenticate again")
        if state.is_root(who.user):
            return
        if who.user not in state.users or not self._granted(who.user, right).covers(key, end):
            raise PermissionDenied(f"the user {who.user!r} may not {right.name.lower()} all of this; ask for a role")

    def _granted(self, name: str, right: Right) -> Spans:
        known = self._spans.get((name, right))
        if known is None:
            roles = (self.state.roles[role] for role in self.state.users[name].roles if role in self.state.roles)
            known = self._spans[name, right] = Spans(
                span(permission.key, permission.end)
                for role in roles
                for permission in role.permissions
                if permission.right in (right, Right.READWRITE)
            )
        return known


def _asked(key: bytes, end: bytes | None, prefix: bool) -> tuple[bytes, bytes]:
    """Our ways to say a range as etcd's key and end."""
    if not prefix:
        return key, end or b""
    return key or NO_END, upper_bound(key) or NO_END
