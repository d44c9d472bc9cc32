"""The Auth service: etcd's calls about users, roles and permissions, on the model of the package `auth`. Passwords are
hashed off the loop (secrecy.py)."""

from ...auth import AuthState, Need, Permission, Right, change
from ...errors import Invalid
from .. import etcd_pb2 as pb
from .access import Access
from .calls import Caller
from .member import Member


class _Part:
    """Over the users of one server."""

    def __init__(self, member: Member, access: Access) -> None:
        self._member, self._access = member, access

    def _root(self, caller: Caller) -> None:
        self._access.admit(caller, Need.ROOT)

    def _done(self) -> pb.Done:
        return pb.Done(header=self._member.header())


class Auth(_Part):
    """The calls about authentication itself."""

    async def enable(self, request: pb.Empty, caller: Caller) -> pb.Done:
        await self._access.change(change.enable)
        return self._done()

    async def disable(self, request: pb.Empty, caller: Caller) -> pb.Done:
        self._root(caller)
        await self._access.change(change.disable)
        return self._done()

    async def status(self, request: pb.Empty, caller: Caller) -> pb.AuthStatusResponse:
        self._root(caller)
        state = self._access.state
        return pb.AuthStatusResponse(header=self._member.header(), enabled=state.enabled, authRevision=state.revision)

    async def authenticate(self, request: pb.AuthenticateRequest, caller: Caller) -> pb.AuthenticateResponse:
        token = await self._access.authenticate(request.name, request.password)
        return pb.AuthenticateResponse(header=self._member.header(), token=token)


class Users(_Part):
    """The calls about users."""

    async def add_user(self, request: pb.AuthUserAddRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        change.add_user(self._access.state, request.name, "")  # refused before it costs anything
        password = None if request.options.no_password else await self._access.secrecy.hashed(request.password)
        await self._access.change(lambda state: change.add_user(state, request.name, password))
        return self._done()

    async def user(self, request: pb.AuthNameRequest, caller: Caller) -> pb.AuthRolesResponse:
        state = self._access.state
        self._access.guard.user(self._access.who(caller), request.name)
        return pb.AuthRolesResponse(header=self._member.header(), roles=state.user(request.name).roles)

    async def users(self, request: pb.Empty, caller: Caller) -> pb.AuthUserListResponse:
        self._root(caller)
        return pb.AuthUserListResponse(header=self._member.header(), users=self._access.state.user_names())

    async def delete_user(self, request: pb.AuthNameRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        await self._access.change(lambda state: change.delete_user(state, request.name))
        return self._done()

    async def change_password(self, request: pb.AuthUserChangePasswordRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        self._access.state.user(request.name)
        password = await self._access.secrecy.hashed(request.password)
        await self._access.change(lambda state: change.change_password(state, request.name, password))
        return self._done()

    async def grant_role(self, request: pb.AuthUserGrantRoleRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        await self._access.change(lambda state: change.grant_role(state, request.user, request.role))
        return self._done()

    async def revoke_role(self, request: pb.AuthUserRevokeRoleRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        await self._access.change(lambda state: change.revoke_role(state, request.name, request.role))
        return self._done()


class Roles(_Part):
    """The calls about roles."""

    async def add_role(self, request: pb.AuthNameRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        await self._access.change(lambda state: change.add_role(state, request.name))
        return self._done()

    async def role(self, request: pb.AuthRoleRequest, caller: Caller) -> pb.AuthRoleGetResponse:
        self._access.guard.role(self._access.who(caller), request.role)
        role = self._access.state.role(request.role)
        permissions = [
            pb.Permission(permType=_TYPES[each.right], key=each.key, range_end=each.end) for each in role.permissions
        ]
        return pb.AuthRoleGetResponse(header=self._member.header(), perm=permissions)

    async def roles(self, request: pb.Empty, caller: Caller) -> pb.AuthRolesResponse:
        self._root(caller)
        return pb.AuthRolesResponse(header=self._member.header(), roles=self._access.state.role_names())

    async def delete_role(self, request: pb.AuthRoleRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        await self._access.change(lambda state: change.delete_role(state, request.role))
        return self._done()

    async def grant_permission(self, request: pb.AuthRoleGrantPermissionRequest, caller: Caller) -> pb.Done:
        self._root(caller)
        permission = _permission(request.perm) if request.HasField("perm") else None
        await self._access.change(lambda state: change.grant_permission(state, request.name, permission))
        return self._done()

    async def revoke_permission(self, request: pb.AuthRoleRevokePermissionRequest, caller: Caller) -> pb.Done:
        self._root(caller)

        def revoked(state: AuthState) -> AuthState:
            return change.revoke_permission(state, request.role, request.key, request.range_end)

        await self._access.change(revoked)
        return self._done()


_TYPES = {Right.READ: pb.Permission.READ, Right.WRITE: pb.Permission.WRITE, Right.READWRITE: pb.Permission.READWRITE}


def _permission(message: pb.Permission) -> Permission:
    if not 0 <= message.permType < len(Right):
        raise Invalid(f"a permission of type {message.permType} is unknown; give READ, WRITE or READWRITE")
    return Permission(Right(message.permType), message.key, message.range_end)
