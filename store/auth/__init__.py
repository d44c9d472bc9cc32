"""Who may do what: etcd's users, roles, permissions and tokens. Pure.

`change` makes the next state of users and roles, `Guard` checks requests against one, `Tokens` know who asks, `NEEDS`
says what each call of etcd's services asks for, `encode` and `decode` keep the state. `jwt` and `certificates` need
the library cryptography, so they are not handed on here: clients import this too.
"""

from . import change
from .codec import decode, encode
from .errors import (
    BY_TEXT,
    Anonymous,
    AuthError,
    AuthFailed,
    InvalidManagement,
    InvalidToken,
    NoPasswordUser,
    NotEnabled,
    OldRevision,
    PermissionDenied,
    PermissionNotGiven,
    PermissionNotGranted,
    RoleEmpty,
    RoleExists,
    RoleNotFound,
    RoleNotGranted,
    RootRoleMissing,
    RootUserMissing,
    UserEmpty,
    UserExists,
    UserNotFound,
    VerifyOnly,
)
from .guard import Guard, LeaseKeys
from .model import ROOT, AuthState, Identity, Permission, Right, Role, User
from .needs import NEEDS, NEEDS_3_4, Need, answer
from .passwords import hash_password, stored_password, verify_password
from .tokens import LETTERS, PREFIX_LETTERS, SimpleTokens, Tokens, identify

__all__ = [
    "BY_TEXT",
    "LETTERS",
    "NEEDS",
    "NEEDS_3_4",
    "PREFIX_LETTERS",
    "ROOT",
    "Anonymous",
    "AuthError",
    "AuthFailed",
    "AuthState",
    "Guard",
    "Identity",
    "InvalidManagement",
    "InvalidToken",
    "LeaseKeys",
    "Need",
    "NoPasswordUser",
    "NotEnabled",
    "OldRevision",
    "Permission",
    "PermissionDenied",
    "PermissionNotGiven",
    "PermissionNotGranted",
    "Right",
    "Role",
    "RoleEmpty",
    "RoleExists",
    "RoleNotFound",
    "RoleNotGranted",
    "RootRoleMissing",
    "RootUserMissing",
    "SimpleTokens",
    "Tokens",
    "User",
    "UserEmpty",
    "UserExists",
    "UserNotFound",
    "VerifyOnly",
    "answer",
    "change",
    "decode",
    "encode",
    "hash_password",
    "identify",
    "stored_password",
    "verify_password",
]
