"""What each call of etcd's services asks of its caller before its keys are looked at.

3.4.23 (probed) lets anybody compact, raise alarms, move the leader, and keep or list leases; some of its calls do not
even look at a wrong token. Later etcd closed that (CVE-2026-33413, 3.5.28 and on), and `NEEDS` is closed likewise;
`NEEDS_3_4` is what 3.4.23 does. Its Maintenance service answers with internal texts and code 2, all others with the
public ones.
"""

from enum import Enum

from .errors import UNKNOWN, AuthError


class Need(Enum):
    """What a call asks for, in the order of strictness."""

    NOTHING = "nothing"
    """Not even the token is looked at."""
    TOKEN = "token"
    """A token that is given must be a right one; nobody in particular may call too."""
    KEYS = "keys"
    """As TOKEN, then the guard's check of the request's keys."""
    USER = "user"
    """As TOKEN, and somebody must ask; any user may."""
    SELF = "self"
    """As TOKEN, then `Guard.user` or `Guard.role`."""
    ROOT = "root"
    """As TOKEN, then `Guard.root`."""


NEEDS = {
    "KV/Range": Need.KEYS,
    "KV/Put": Need.KEYS,
    "KV/DeleteRange": Need.KEYS,
    "KV/Txn": Need.KEYS,
    "KV/Compact": Need.USER,
    "Watch/Watch": Need.KEYS,
    "Lease/LeaseGrant": Need.USER,
    "Lease/LeaseRevoke": Need.KEYS,
    "Lease/LeaseKeepAlive": Need.USER,
    "Lease/LeaseTimeToLive": Need.KEYS,
    "Lease/LeaseLeases": Need.USER,
    "Cluster/MemberList": Need.USER,
    "Cluster/MemberAdd": Need.ROOT,
    "Cluster/MemberRemove": Need.ROOT,
    "Cluster/MemberUpdate": Need.ROOT,
    "Cluster/MemberPromote": Need.ROOT,
    "Maintenance/Status": Need.USER,
    "Maintenance/MoveLeader": Need.ROOT,
    "Maintenance/Alarm": Need.ROOT,
    "Maintenance/AlarmList": Need.USER,  # Alarm that only asks which there are
    "Maintenance/Defragment": Need.ROOT,
    "Maintenance/Hash": Need.ROOT,
    "Maintenance/HashKV": Need.ROOT,
    "Maintenance/Snapshot": Need.ROOT,
    "Auth/Authenticate": Need.NOTHING,
    "Auth/UserGet": Need.SELF,
    "Auth/RoleGet": Need.SELF,
    "Auth/AuthEnable": Need.ROOT,
    "Auth/AuthDisable": Need.ROOT,
    "Auth/AuthStatus": Need.ROOT,
    "Auth/UserAdd": Need.ROOT,
    "Auth/UserList": Need.ROOT,
    "Auth/UserDelete": Need.ROOT,
    "Auth/UserChangePassword": Need.ROOT,
    "Auth/UserGrantRole": Need.ROOT,
    "Auth/UserRevokeRole": Need.ROOT,
    "Auth/RoleAdd": Need.ROOT,
    "Auth/RoleList": Need.ROOT,
    "Auth/RoleDelete": Need.ROOT,
    "Auth/RoleGrantPermission": Need.ROOT,
    "Auth/RoleRevokePermission": Need.ROOT,
}
"""By service and method; what is not here (Lock, Election) is made of these."""

NEEDS_3_4 = {
    **NEEDS,
    **dict.fromkeys(("KV/Compact", "Lease/LeaseGrant", "Maintenance/Alarm", "Maintenance/AlarmList"), Need.TOKEN),
    **dict.fromkeys(("Lease/LeaseKeepAlive", "Lease/LeaseTimeToLive", "Lease/LeaseLeases"), Need.NOTHING),
    **dict.fromkeys(("Cluster/MemberList", "Maintenance/Status", "Maintenance/MoveLeader"), Need.NOTHING),
}


def answer(call: str, error: AuthError) -> tuple[int, str]:
    """The gRPC code and text in which a call tells an error."""
    return (UNKNOWN, error.raw) if call.startswith("Maintenance/") else (error.code, error.text)
