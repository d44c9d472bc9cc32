"""etcd's services as a table: every call's path, what it takes and gives, and its path in the JSON gateway. Pure.

Both sides read it: the server registers a handler for each line, the client makes a call of each, and both transports
(gRPC, JSON over HTTP) serve them all alike. (etcd API reference v3; gateway paths: etcd documentation, "gRPC gateway".)
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from . import etcd_pb2 as pb

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Call(Generic[Request, Response]):
    """`path` is gRPC's, `gateway` the JSON gateway's; a stream of requests or of responses where so named."""

    path: str
    gateway: str
    request: type[Request]
    response: type[Response]
    streams_in: bool = False
    streams_out: bool = False

    @property
    def name(self) -> str:
        """The method's name, as in the path."""
        return self.path.rpartition("/")[2]


KV, LEASE, CLUSTER = "etcdserverpb.KV", "etcdserverpb.Lease", "etcdserverpb.Cluster"
MAINTENANCE, AUTH = "etcdserverpb.Maintenance", "etcdserverpb.Auth"
LOCKS, ELECTION = "v3lockpb.Lock", "v3electionpb.Election"


def _unary(
    service: str, name: str, gateway: str, request: type[Request], response: type[Response]
) -> Call[Request, Response]:
    return Call(f"/{service}/{name}", f"/v3/{gateway}", request, response)


RANGE = _unary(KV, "Range", "kv/range", pb.RangeRequest, pb.RangeResponse)
PUT = _unary(KV, "Put", "kv/put", pb.PutRequest, pb.PutResponse)
DELETE_RANGE = _unary(KV, "DeleteRange", "kv/deleterange", pb.DeleteRangeRequest, pb.DeleteRangeResponse)
TXN = _unary(KV, "Txn", "kv/txn", pb.TxnRequest, pb.TxnResponse)
COMPACT = _unary(KV, "Compact", "kv/compaction", pb.CompactionRequest, pb.Done)

WATCH = Call("/etcdserverpb.Watch/Watch", "/v3/watch", pb.WatchRequest, pb.WatchResponse, True, True)

LEASE_GRANT = _unary(LEASE, "LeaseGrant", "lease/grant", pb.LeaseGrantRequest, pb.LeaseGrantResponse)
LEASE_REVOKE = _unary(LEASE, "LeaseRevoke", "lease/revoke", pb.LeaseRevokeRequest, pb.Done)
LEASE_KEEP_ALIVE = Call(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/v3/lease/keepalive",
    pb.LeaseKeepAliveRequest,
    pb.LeaseKeepAliveResponse,
    True,
    True,
)
LEASE_TIME_TO_LIVE = _unary(
    LEASE, "LeaseTimeToLive", "lease/timetolive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse
)
LEASE_LEASES = _unary(LEASE, "LeaseLeases", "lease/leases", pb.Empty, pb.LeaseLeasesResponse)

MEMBER_ADD = _unary(CLUSTER, "MemberAdd", "cluster/member/add", pb.MemberAddRequest, pb.MemberAddResponse)
MEMBER_REMOVE = _unary(CLUSTER, "MemberRemove", "cluster/member/remove", pb.MemberRequest, pb.MembersResponse)
MEMBER_UPDATE = _unary(CLUSTER, "MemberUpdate", "cluster/member/update", pb.MemberUpdateRequest, pb.MembersResponse)
MEMBER_LIST = _unary(CLUSTER, "MemberList", "cluster/member/list", pb.MemberListRequest, pb.MembersResponse)
MEMBER_PROMOTE = _unary(CLUSTER, "MemberPromote", "cluster/member/promote", pb.MemberRequest, pb.MembersResponse)

ALARM = _unary(MAINTENANCE, "Alarm", "maintenance/alarm", pb.AlarmRequest, pb.AlarmResponse)
STATUS = _unary(MAINTENANCE, "Status", "maintenance/status", pb.Empty, pb.StatusResponse)
DEFRAGMENT = _unary(MAINTENANCE, "Defragment", "maintenance/defragment", pb.Empty, pb.Done)
HASH = _unary(MAINTENANCE, "Hash", "maintenance/hash", pb.Empty, pb.HashResponse)
# the gateway has one path for both hashes and means this one
HASH_KV = _unary(MAINTENANCE, "HashKV", "maintenance/hash", pb.HashKVRequest, pb.HashKVResponse)
SNAPSHOT = Call(
    "/etcdserverpb.Maintenance/Snapshot", "/v3/maintenance/snapshot", pb.Empty, pb.SnapshotResponse, False, True
)
MOVE_LEADER = _unary(MAINTENANCE, "MoveLeader", "maintenance/transfer-leadership", pb.MoveLeaderRequest, pb.Done)
DOWNGRADE = _unary(MAINTENANCE, "Downgrade", "maintenance/downgrade", pb.DowngradeRequest, pb.DowngradeResponse)

AUTH_ENABLE = _unary(AUTH, "AuthEnable", "auth/enable", pb.Empty, pb.Done)
AUTH_DISABLE = _unary(AUTH, "AuthDisable", "auth/disable", pb.Empty, pb.Done)
AUTH_STATUS = _unary(AUTH, "AuthStatus", "auth/status", pb.Empty, pb.AuthStatusResponse)
AUTHENTICATE = _unary(AUTH, "Authenticate", "auth/authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse)
USER_ADD = _unary(AUTH, "UserAdd", "auth/user/add", pb.AuthUserAddRequest, pb.Done)
USER_GET = _unary(AUTH, "UserGet", "auth/user/get", pb.AuthNameRequest, pb.AuthRolesResponse)
USER_LIST = _unary(AUTH, "UserList", "auth/user/list", pb.Empty, pb.AuthUserListResponse)
USER_DELETE = _unary(AUTH, "UserDelete", "auth/user/delete", pb.AuthNameRequest, pb.Done)
USER_CHANGE_PASSWORD = _unary(
    AUTH, "UserChangePassword", "auth/user/changepw", pb.AuthUserChangePasswordRequest, pb.Done
)
USER_GRANT_ROLE = _unary(AUTH, "UserGrantRole", "auth/user/grant", pb.AuthUserGrantRoleRequest, pb.Done)
USER_REVOKE_ROLE = _unary(AUTH, "UserRevokeRole", "auth/user/revoke", pb.AuthUserRevokeRoleRequest, pb.Done)
ROLE_ADD = _unary(AUTH, "RoleAdd", "auth/role/add", pb.AuthNameRequest, pb.Done)
ROLE_GET = _unary(AUTH, "RoleGet", "auth/role/get", pb.AuthRoleRequest, pb.AuthRoleGetResponse)
ROLE_LIST = _unary(AUTH, "RoleList", "auth/role/list", pb.Empty, pb.AuthRolesResponse)
ROLE_DELETE = _unary(AUTH, "RoleDelete", "auth/role/delete", pb.AuthRoleRequest, pb.Done)
ROLE_GRANT_PERMISSION = _unary(
    AUTH, "RoleGrantPermission", "auth/role/grant", pb.AuthRoleGrantPermissionRequest, pb.Done
)
ROLE_REVOKE_PERMISSION = _unary(
    AUTH, "RoleRevokePermission", "auth/role/revoke", pb.AuthRoleRevokePermissionRequest, pb.Done
)

LOCK = _unary(LOCKS, "Lock", "lock/lock", pb.LockRequest, pb.LockResponse)
UNLOCK = _unary(LOCKS, "Unlock", "lock/unlock", pb.UnlockRequest, pb.Done)
CAMPAIGN = _unary(ELECTION, "Campaign", "election/campaign", pb.CampaignRequest, pb.CampaignResponse)
PROCLAIM = _unary(ELECTION, "Proclaim", "election/proclaim", pb.ProclaimRequest, pb.Done)
LEADER = _unary(ELECTION, "Leader", "election/leader", pb.LeaderRequest, pb.LeaderResponse)
OBSERVE = Call(
    "/v3electionpb.Election/Observe", "/v3/election/observe", pb.LeaderRequest, pb.LeaderResponse, False, True
)
RESIGN = _unary(ELECTION, "Resign", "election/resign", pb.ResignRequest, pb.Done)

CALLS: tuple[Call[Message, Message], ...] = tuple(each for each in list(globals().values()) if isinstance(each, Call))
