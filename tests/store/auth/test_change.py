"""Changes of users, roles and permissions, one by one; `test_against_etcd.py` compares lists of them."""

from collections.abc import Callable
from functools import partial, reduce

import pytest

from hawser.store.auth import (
    ROOT,
    AuthError,
    AuthState,
    InvalidManagement,
    Permission,
    PermissionNotGiven,
    PermissionNotGranted,
    Right,
    RoleEmpty,
    RoleExists,
    RoleNotFound,
    RoleNotGranted,
    RootRoleMissing,
    RootUserMissing,
    UserEmpty,
    UserExists,
    UserNotFound,
    change,
)

Step = Callable[[AuthState], AuthState]
READ_A = Permission(Right.READ, b"a")


def after(*steps: Step, start: AuthState | None = None) -> AuthState:
    return reduce(lambda state, step: step(state), steps, start or AuthState())


def step(do: Callable[..., AuthState], *given: object) -> Step:
    return lambda state: do(state, *given)


MANY = after(
    step(change.add_user, ROOT, "hash"),
    step(change.grant_role, ROOT, ROOT),
    step(change.add_user, "u", "hash"),
    step(change.add_role, "r"),
    step(change.add_role, "b"),
    step(change.grant_role, "u", "r"),
    step(change.grant_permission, "r", READ_A),
)
ON = change.enable(MANY)


@pytest.mark.parametrize(
    ("state", "do", "error"),
    [
        (MANY, partial(change.add_user, name="", password="x"), UserEmpty),
        (MANY, partial(change.add_user, name="u", password="x"), UserExists),
        (MANY, partial(change.delete_user, name="x"), UserNotFound),
        (ON, partial(change.delete_user, name=ROOT), InvalidManagement),
        (MANY, partial(change.change_password, name="x", password="y"), UserNotFound),
        (MANY, partial(change.grant_role, name="x", role="r"), UserNotFound),
        (MANY, partial(change.grant_role, name="u", role="x"), RoleNotFound),
        (MANY, partial(change.revoke_role, name="x", role="r"), UserNotFound),
        (MANY, partial(change.revoke_role, name="u", role="b"), RoleNotGranted),
        (ON, partial(change.revoke_role, name=ROOT, role=ROOT), InvalidManagement),
        (MANY, partial(change.add_role, name=""), RoleEmpty),
        (MANY, partial(change.add_role, name="r"), RoleExists),
        (MANY, partial(change.delete_role, name="x"), RoleNotFound),
        (MANY, partial(change.delete_role, name=ROOT), RoleNotFound),
        (ON, partial(change.delete_role, name=ROOT), InvalidManagement),
        (MANY, partial(change.grant_permission, name="x", permission=READ_A), RoleNotFound),
        (MANY, partial(change.grant_permission, name="r", permission=None), PermissionNotGiven),
        (MANY, partial(change.revoke_permission, name="x", key=b"a"), RoleNotFound),
        (MANY, partial(change.revoke_permission, name="r", key=b"a", end=b"b"), PermissionNotGranted),
        (AuthState(), change.enable, RootUserMissing),
        (change.revoke_role(MANY, ROOT, ROOT), change.enable, RootRoleMissing),
    ],
)
def test_what_is_refused(state: AuthState, do: Step, error: type[AuthError]) -> None:
    with pytest.raises(error):
        do(state)


def test_a_change_leaves_the_state_before_alone_and_raises_the_revision() -> None:
    assert AuthState().revision == 1
    assert MANY.revision == 8
    more = change.add_user(MANY, "v", None)
    assert (more.revision, more.user_names()) == (9, (ROOT, "u", "v"))
    assert MANY.user_names() == (ROOT, "u")


def test_what_changes_nothing_gives_the_state_back() -> None:
    assert change.grant_role(MANY, "u", "r") is MANY
    assert change.enable(ON) is ON
    assert change.disable(MANY) is MANY


def test_only_disabling_counts_as_a_change() -> None:
    assert ON.revision == MANY.revision
    assert change.disable(ON).revision == ON.revision + 1


def test_roles_of_a_user_are_sorted_and_root_needs_no_record() -> None:
    state = after(step(change.grant_role, "u", ROOT), step(change.grant_role, "u", "b"), start=MANY)
    assert state.user("u").roles == ("b", "r", ROOT)
    assert state.role_names() == ("b", "r")


def test_a_deleted_role_is_taken_from_its_users() -> None:
    state = after(step(change.delete_role, "r"), step(change.add_role, "r"), start=MANY)
    assert state.user("u").roles == ()
    assert state.role("r").permissions == ()


def test_a_user_without_password_stays_without() -> None:
    state = after(step(change.add_user, "v", None), step(change.change_password, "v", "hash"), start=MANY)
    assert state.user("v").password is None
    assert state.revision == MANY.revision + 2


def test_a_granted_range_gets_the_new_right() -> None:
    state = change.grant_permission(MANY, "r", Permission(Right.READWRITE, b"a"))
    assert state.role("r").permissions == (Permission(Right.READWRITE, b"a"),)


def test_permissions_are_in_the_order_of_their_keys() -> None:
    wanted = [Permission(Right.READ, key, end) for key, end in ((b"c", b""), (b"b", b""), (b"b", b"\0"), (b"0", b""))]
    state = after(*(step(change.grant_permission, "r", each) for each in wanted), start=MANY)
    have = [(each.key, each.end) for each in state.role("r").permissions]
    assert have == [(b"0", b""), (b"a", b""), (b"b", b""), (b"b", b"\0"), (b"c", b"")]


def test_a_range_behind_another_of_its_key_is_granted_again_and_revoked_at_once() -> None:
    longer = [Permission(right, b"a", b"c") for right in (Right.READ, Right.WRITE)]
    state = after(*(step(change.grant_permission, "r", each) for each in longer), start=MANY)
    assert state.role("r").permissions == (READ_A, *longer)
    assert change.revoke_permission(state, "r", b"a", b"c").role("r").permissions == (READ_A,)
