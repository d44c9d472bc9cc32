"""Users, roles and permissions as etcd has them. Frozen: a change (`change.py`) gives a new state.

A user has roles, a role has permissions on keys, and the role `root` may do everything; it needs no record of its own.
Every change raises the state's revision, and who proved an identity at an older one must do so again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from .errors import RoleNotFound, UserNotFound

ROOT = "root"


class Right(IntEnum):
    """etcd's numbers."""

    READ = 0
    WRITE = 1
    READWRITE = 2


@dataclass(frozen=True, slots=True)
class Permission:
    """A right on `key` alone (`end` empty), on [key, end), or from `key` on (`end` is b"\\0")."""

    right: Right
    key: bytes
    end: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """`password` as `passwords.hash_password` gives it; None: only a certificate proves this user. Roles are sorted."""

    name: str
    password: str | None = None
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Permissions in the order of their keys, those of one key in the order they were granted."""

    name: str
    permissions: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthState:
    """All of it; a new store's has revision 1, nobody, and lets everybody do everything."""

    enabled: bool = False
    revision: int = 1
    users: Mapping[str, User] = field(default_factory=dict)
    roles: Mapping[str, Role] = field(default_factory=dict)

    def user(self, name: str) -> User:
        """UserNotFound."""
        if name not in self.users:
            raise UserNotFound(f"there is no user {name!r}; add it first, or look at the list of users")
        return self.users[name]

    def role(self, name: str) -> Role:
        """RoleNotFound."""
        if name not in self.roles:
            raise RoleNotFound(f"there is no role {name!r}; add it first, or look at the list of roles")
        return self.roles[name]

    def user_names(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted(self.users))

    def role_names(self) -> tuple[str, ...]:
        """Sorted; `root` only when somebody added it."""
        return tuple(sorted(self.roles))

    def is_root(self, name: str) -> bool:
        return name in self.users and ROOT in self.users[name].roles


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, proven when the state had this revision. None stands for nobody in particular."""

    user: str
    revision: int
