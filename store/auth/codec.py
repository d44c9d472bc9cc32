"""The state as bytes and back: JSON with a version, keys in base64, everything sorted. What is not such a state, or
contradicts itself, is refused whole."""

from collections.abc import Iterator

import msgspec

from ..errors import Corrupt
from .model import ROOT, AuthState, Permission, Right, Role, User

VERSION = 1


class _Permission(msgspec.Struct, forbid_unknown_fields=True):
    right: Right
    key: bytes
    end: bytes


class _User(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    password: str | None
    roles: tuple[str, ...]


class _Role(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    permissions: tuple[_Permission, ...]


class _Version(msgspec.Struct):
    version: int


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    enabled: bool
    revision: int
    users: tuple[_User, ...]
    roles: tuple[_Role, ...]


def encode(state: AuthState) -> bytes:
    """The same state gives the same bytes."""
    users = (state.users[name] for name in state.user_names())
    roles = (state.roles[name] for name in state.role_names())
    return msgspec.json.encode(
        _State(
            version=VERSION,
            enabled=state.enabled,
            revision=state.revision,
            users=tuple(_User(user.name, user.password, user.roles) for user in users),
            roles=tuple(
                _Role(role.name, tuple(_Permission(each.right, each.key, each.end) for each in role.permissions))
                for role in roles
            ),
        )
    )


def decode(data: bytes) -> AuthState:
    """What `encode` gave. Corrupt."""
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version != VERSION:
            raise Corrupt(f"users and roles are stored in version {version}, this knows {VERSION}; use a newer hawser")
        stored = msgspec.json.decode(data, type=_State)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"the stored users and roles cannot be read: {error}; restore a snapshot") from error
    state = AuthState(
        enabled=stored.enabled,
        revision=stored.revision,
        users={user.name: User(name=user.name, password=user.password, roles=user.roles) for user in stored.users},
        roles={
            role.name: Role(
                name=role.name,
                permissions=tuple(Permission(each.right, each.key, each.end) for each in role.permissions),
            )
            for role in stored.roles
        },
    )
    problems = list(_problems(stored, state))
    if problems:
        raise Corrupt(f"the stored users and roles contradict themselves: {'; '.join(problems)}; restore a snapshot")
    return state


def _problems(stored: _State, state: AuthState) -> Iterator[str]:
    if stored.revision < 1:
        yield f"the revision is {stored.revision}"
    if len(state.users) < len(stored.users) or len(state.roles) < len(stored.roles):
        yield "a user or a role is there twice"
    if "" in state.users or "" in state.roles:
        yield "a user or a role has no name"
    if state.enabled and not state.is_root(ROOT):
        yield "authentication is enabled without a root"
    for user in state.users.values():
        if list(user.roles) != sorted(set(user.roles)):
            yield f"the roles of {user.name!r} are not in order"
        if missing := set(user.roles) - {ROOT, *state.roles}:
            yield f"the user {user.name!r} has roles that are not there: {', '.join(sorted(missing))}"
    for role in state.roles.values():
        keys = [permission.key for permission in role.permissions]
        if keys != sorted(keys):
            yield f"the permissions of {role.name!r} are not in order"
