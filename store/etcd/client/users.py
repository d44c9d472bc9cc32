"""Who may do what: users, roles and their permissions, and whether etcd asks at all. Permissions are store.auth's.

A change that nobody answered ends with `OutcomeUnknown`; look before doing it again.
"""

from dataclasses import dataclass

from ...auth.model import Permission, Right
from .. import etcd_pb2 as pb
from .. import services
from .calls import Calls

_TYPES = {
    Right.READ: pb.Permission.Type.READ,
    Right.WRITE: pb.Permission.Type.WRITE,
    Right.READWRITE: pb.Permission.Type.READWRITE,
}


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """Whether etcd asks who you are, and the revision of users and roles."""

    enabled: bool
    revision: int


class Auth:
    """The switch."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def status(self) -> AuthStatus:
        """Since etcd 3.5; Invalid before."""
        told = await self._calls.call(services.AUTH_STATUS, pb.Empty(), repeatable=True)
        return AuthStatus(told.enabled, told.authRevision)

    async def enable(self) -> None:
        """Ask everybody from now on. Conflict while there is no user root with the role root."""
        await self._calls.call(services.AUTH_ENABLE, pb.Empty(), repeatable=True)

    async def disable(self) -> None:
        """Ask nobody any more."""
        await self._calls.call(services.AUTH_DISABLE, pb.Empty(), repeatable=True)


class Users:
    """Names, passwords and roles. NotFound, Conflict."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list(self) -> tuple[str, ...]:
        told = await self._calls.call(services.USER_LIST, pb.Empty(), repeatable=True)
        return tuple(sorted(told.users))

    async def roles(self, name: str) -> tuple[str, ...]:
        """A user's."""
        told = await self._calls.call(services.USER_GET, pb.AuthNameRequest(name=name), repeatable=True)
        return tuple(sorted(told.roles))

    async def add(self, name: str, password: str | None) -> None:
        """None: who has a certificate for this name, and nobody else."""
        options = pb.UserAddOptions(no_password=password is None)
        request = pb.AuthUserAddRequest(name=name, password=password or "", options=options)
        await self._calls.call(services.USER_ADD, request)

    async def delete(self, name: str) -> None:
        await self._calls.call(services.USER_DELETE, pb.AuthNameRequest(name=name))

    async def change_password(self, name: str, password: str) -> None:
        request = pb.AuthUserChangePasswordRequest(name=name, password=password)
        await self._calls.call(services.USER_CHANGE_PASSWORD, request, repeatable=True)

    async def grant(self, name: str, role: str) -> None:
        await self._calls.call(services.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user=name, role=role))

    async def revoke(self, name: str, role: str) -> None:
        await self._calls.call(services.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name=name, role=role))


class Roles:
    """Names and permissions. NotFound, Conflict."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list(self) -> tuple[str, ...]:
        told = await self._calls.call(services.ROLE_LIST, pb.Empty(), repeatable=True)
        return tuple(sorted(told.roles))

    async def permissions(self, role: str) -> tuple[Permission, ...]:
        """A role's."""
        told = await self._calls.call(services.ROLE_GET, pb.AuthRoleRequest(role=role), repeatable=True)
        return tuple(Permission(Right(each.permType), each.key, each.range_end) for each in told.perm)

    async def add(self, role: str) -> None:
        await self._calls.call(services.ROLE_ADD, pb.AuthNameRequest(name=role))

    async def delete(self, role: str) -> None:
        await self._calls.call(services.ROLE_DELETE, pb.AuthRoleRequest(role=role))

    async def grant(self, role: str, permission: Permission) -> None:
        perm = pb.Permission(permType=_TYPES[permission.right], key=permission.key, range_end=permission.end)
        request = pb.AuthRoleGrantPermissionRequest(name=role, perm=perm)
        await self._calls.call(services.ROLE_GRANT_PERMISSION, request, repeatable=True)

    async def revoke(self, role: str, key: bytes, end: bytes = b"") -> None:
        request = pb.AuthRoleRevokePermissionRequest(role=role, key=key, range_end=end)
        await self._calls.call(services.ROLE_REVOKE_PERMISSION, request)
