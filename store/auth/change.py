"""Every change of users, roles and permissions: a state and a request in, the next state out, or an error and none.

What changes nothing (a role granted twice, enabling what is enabled) gives the same state back, its revision too; all
else raises the revision by one, except enabling. Order of the checks and the errors are etcd's (probed on 3.4.23).
"""

from bisect import bisect_left
from dataclasses import replace

from .errors import (
    InvalidManagement,
    PermissionNotGiven,
    PermissionNotGranted,
    RoleEmpty,
    RoleExists,
    RoleNotGranted,
    RootRoleMissing,
    RootUserMissing,
    UserEmpty,
    UserExists,
)
from .model import ROOT, AuthState, Permission, Role, User


def enable(state: AuthState) -> AuthState:
    """From now on everybody must say who they are. RootUserMissing, RootRoleMissing."""
    if state.enabled:
        return state
    if ROOT not in state.users:
        raise RootUserMissing("authentication needs the user root; add it and grant it the role root first")
    if not state.is_root(ROOT):
        raise RootRoleMissing("the user root does not have the role root; grant it first")
    return replace(state, enabled=True)


def disable(state: AuthState) -> AuthState:
    """Everybody may do everything again; users and roles stay."""
    return _next(replace(state, enabled=False)) if state.enabled else state


def add_user(state: AuthState, name: str, password: str | None) -> AuthState:
    """`password` is hashed already; None: a user without one, known by a certificate. UserEmpty, UserExists."""
    if not name:
        raise UserEmpty("a user needs a name; give one")
    if name in state.users:
        raise UserExists(f"the user {name!r} exists; choose another name, or change its password")
    return _with_user(state, User(name=name, password=password))


def delete_user(state: AuthState, name: str) -> AuthState:
    """InvalidManagement, UserNotFound."""
    if state.enabled and name == ROOT:
        raise InvalidManagement("the user root cannot be deleted while authentication is enabled; disable it first")
    state.user(name)
    return _next(replace(state, users={other: user for other, user in state.users.items() if other != name}))


def change_password(state: AuthState, name: str, password: str) -> AuthState:
    """A user without password stays without one. UserNotFound."""
    user = state.user(name)
    return _with_user(state, user if user.password is None else replace(user, password=password))


def grant_role(state: AuthState, name: str, role: str) -> AuthState:
    """The role `root` can be granted though nobody added it. UserNotFound, RoleNotFound."""
    user = state.user(name)
    if role != ROOT:
        state.role(role)
    if role in user.roles:
        return state
    return _with_user(state, replace(user, roles=tuple(sorted((*user.roles, role)))))


def revoke_role(state: AuthState, name: str, role: str) -> AuthState:
    """InvalidManagement, UserNotFound, RoleNotGranted."""
    if state.enabled and (name, role) == (ROOT, ROOT):
        raise InvalidManagement("root keeps the role root while authentication is enabled; disable it first")
    user = state.user(name)
    if role not in user.roles:
        raise RoleNotGranted(f"the user {name!r} does not have the role {role!r}; look at the user's roles")
    return _with_user(state, _without(user, role))


def add_role(state: AuthState, name: str) -> AuthState:
    """RoleEmpty, RoleExists."""
    if not name:
        raise RoleEmpty("a role needs a name; give one")
    if name in state.roles:
        raise RoleExists(f"the role {name!r} exists; choose another name")
    return _with_role(state, Role(name=name))


def delete_role(state: AuthState, name: str) -> AuthState:
    """Takes it from every user who has it. InvalidManagement, RoleNotFound."""
    if state.enabled and name == ROOT:
        raise InvalidManagement("the role root cannot be deleted while authentication is enabled; disable it first")
    state.role(name)
    roles = {other: role for other, role in state.roles.items() if other != name}
    users = {user.name: _without(user, name) for user in state.users.values()}
    return _next(replace(state, roles=roles, users=users))


def grant_permission(state: AuthState, name: str, permission: Permission | None) -> AuthState:
    """Replaces the right when the first permission on its key has the same range, else adds one: etcd looks no
    further, so a range may stand there twice. PermissionNotGiven, RoleNotFound."""
    if permission is None:
        raise PermissionNotGiven(f"no permission is given to grant to the role {name!r}; say which right on which key")
    role = state.role(name)
    have = list(role.permissions)
    keys = [other.key for other in have]
    at = bisect_left(keys, permission.key)
    if have[at : at + 1] and (have[at].key, have[at].end) == (permission.key, permission.end):
        have[at] = permission
    else:
        have = sorted([*have, permission], key=lambda other: other.key)
    return _with_role(state, replace(role, permissions=tuple(have)))


def revoke_permission(state: AuthState, name: str, key: bytes, end: bytes = b"") -> AuthState:
    """Whatever the right. RoleNotFound, PermissionNotGranted."""
    role = state.role(name)
    kept = tuple(have for have in role.permissions if (have.key, have.end) != (key, end))
    if len(kept) == len(role.permissions):
        raise PermissionNotGranted(f"the role {name!r} has no permission on just this range; look at the role")
    return _with_role(state, replace(role, permissions=kept))


def _without(user: User, role: str) -> User:
    return replace(user, roles=tuple(other for other in user.roles if other != role))


def _with_user(state: AuthState, user: User) -> AuthState:
    return _next(replace(state, users={**state.users, user.name: user}))


def _with_role(state: AuthState, role: Role) -> AuthState:
    return _next(replace(state, roles={**state.roles, role.name: role}))


def _next(state: AuthState) -> AuthState:
    return replace(state, revision=state.revision + 1)
