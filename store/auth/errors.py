"""What authentication refuses, with etcd's exact text and gRPC code (api/v3rpc/rpctypes/error.go; probed on 3.4.23).

The message says what, why and what to do, for people. `text` and `code` go over etcd's protocol. `raw` is what etcd's
Maintenance service answers instead, with code 2: there it does not translate its internal errors.
"""

from ..errors import Conflict, Denied, Invalid, NotFound, StoreError

UNKNOWN, INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION, UNAUTHENTICATED = 2, 3, 7, 9, 16


class AuthError(StoreError):
    """Base: `text` and `code` are etcd's."""

    text = "etcdserver: authentication failed"
    code = UNKNOWN

    @property
    def raw(self) -> str:
        return self.text.replace("etcdserver: ", "auth: ", 1)


class UserEmpty(Invalid, AuthError):
    """A user without a name."""

    text, code = "etcdserver: user name is empty", INVALID_ARGUMENT


class Anonymous(Denied, AuthError):
    """Nobody in particular asks for what needs a user; etcd says it as `UserEmpty`."""

    text, code = UserEmpty.text, INVALID_ARGUMENT


class UserExists(Conflict, AuthError):
    text, code = "etcdserver: user name already exists", FAILED_PRECONDITION


class UserNotFound(NotFound, AuthError):
    text, code = "etcdserver: user name not found", FAILED_PRECONDITION

    @property
    def raw(self) -> str:
        return "auth: user not found"


class RoleEmpty(Invalid, AuthError):
    text, code = "etcdserver: role name is empty", INVALID_ARGUMENT


class RoleExists(Conflict, AuthError):
    text, code = "etcdserver: role name already exists", FAILED_PRECONDITION


class RoleNotFound(NotFound, AuthError):
    text, code = "etcdserver: role name not found", FAILED_PRECONDITION


class RoleNotGranted(NotFound, AuthError):
    text, code = "etcdserver: role is not granted to the user", FAILED_PRECONDITION


class PermissionNotGranted(NotFound, AuthError):
    text, code = "etcdserver: permission is not granted to the role", FAILED_PRECONDITION


class PermissionNotGiven(Invalid, AuthError):
    """A grant of nothing (it ends etcd 3.4's process; later ones answer this)."""

    text, code = "etcdserver: permission not given", INVALID_ARGUMENT


class RootUserMissing(NotFound, AuthError):
    text, code = "etcdserver: root user does not exist", FAILED_PRECONDITION


class RootRoleMissing(NotFound, AuthError):
    text, code = "etcdserver: root user does not have root role", FAILED_PRECONDITION


class InvalidManagement(Conflict, AuthError):
    """A change that would leave an enabled store without its root."""

    text, code = "etcdserver: invalid auth management", INVALID_ARGUMENT


class NotEnabled(Conflict, AuthError):
    text, code = "etcdserver: authentication is not enabled", FAILED_PRECONDITION


class AuthFailed(Denied, AuthError):
    """No such user, or a wrong password: which of them is not told."""

    text, code = "etcdserver: authentication failed, invalid user ID or password", INVALID_ARGUMENT


class NoPasswordUser(Denied, AuthError):
    """The user may only come with a certificate."""

    text, code = "auth: authentication failed, password was given for no password user", UNKNOWN


class PermissionDenied(Denied, AuthError):
    text, code = "etcdserver: permission denied", PERMISSION_DENIED


class InvalidToken(Denied, AuthError):
    """Unknown, expired, forged, or of another kind than this store gives."""

    text, code = "etcdserver: invalid auth token", UNAUTHENTICATED


class OldRevision(Denied, AuthError):
    """Users or permissions changed since the token was given: authenticate again."""

    text, code = "etcdserver: revision of auth store is old", INVALID_ARGUMENT


class VerifyOnly(Conflict, AuthError):
    """This member has no key to sign tokens with."""

    text, code = "auth: token signing attempted with verify-only key", UNKNOWN


BY_TEXT: dict[str, type[AuthError]] = {
    kind.text: kind
    for kind in (
        Anonymous,
        UserExists,
        UserNotFound,
        RoleEmpty,
        RoleExists,
        RoleNotFound,
        RoleNotGranted,
        PermissionNotGranted,
        PermissionNotGiven,
        RootUserMissing,
        RootRoleMissing,
        InvalidManagement,
        NotEnabled,
        AuthFailed,
        NoPasswordUser,
        PermissionDenied,
        InvalidToken,
        OldRevision,
        VerifyOnly,
    )
}
"""A client's way back from etcd's text to our error."""
