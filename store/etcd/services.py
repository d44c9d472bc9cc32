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


def _kv(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/etcdserverpb.KV/{name}", f"/v3/kv/{gateway}", request, response)


def _lease(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/etcdserverpb.Lease/{name}", f"/v3/lease/{gateway}", request, response)


def _member(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/etcdserverpb.Cluster/{name}", f"/v3/cluster/member/{gateway}", request, response)


def _upkeep(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/etcdserverpb.Maintenance/{name}", f"/v3/maintenance/{gateway}", request, response)


def _auth(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/etcdserverpb.Auth/{name}", f"/v3/auth/{gateway}", request, response)


def _lock(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/v3lockpb.Lock/{name}", f"/v3/lock/{gateway}", request, response)


def _election(name: str, gateway: str, request: type[Request], response: type[Response]) -> Call[Request, Response]:
    return Call(f"/v3electionpb.Election/{name}", f"/v3/election/{gateway}", request, response)


RANGE = _kv("Range", "range", pb.RangeRequest, pb.RangeResponse)
PUT = _kv("Put", "put", pb.PutRequest, pb.PutResponse)
DELETE_RANGE = _kv("DeleteRange", "deleterange", pb.DeleteRangeRequest, pb.DeleteRangeResponse)
TXN = _kv("Txn", "txn", pb.TxnRequest, pb.TxnResponse)
COMPACT = _kv("Compact", "compaction", pb.CompactionRequest, pb.Done)

WATCH = Call("/etcdserverpb.Watch/Watch", "/v3/watch", pb.WatchRequest, pb.WatchResponse, True, True)

LEASE_GRANT = _lease("LeaseGrant", "grant", pb.LeaseGrantRequest, pb.LeaseGrantResponse)
LEASE_REVOKE = _lease("LeaseRevoke", "revoke", pb.LeaseRevokeRequest, pb.Done)
LEASE_KEEP_ALIVE = Call(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/v3/lease/keepalive",
    pb.LeaseKeepAliveRequest,
    pb.LeaseKeepAliveResponse,
    True,
    True,
)
LEASE_TIME_TO_LIVE = _lease("LeaseTimeToLive", "timetolive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse)
LEASE_LEASES = _lease("LeaseLeases", "leases", pb.Empty, pb.LeaseLeasesResponse)

MEMBER_ADD = _member("MemberAdd", "add", pb.MemberAddRequest, pb.MemberAddResponse)
MEMBER_REMOVE = _member("MemberRemove", "remove", pb.MemberRequest, pb.MembersResponse)
MEMBER_UPDATE = _member("MemberUpdate", "update", pb.MemberUpdateRequest, pb.MembersResponse)
MEMBER_LIST = _member("MemberList", "list", pb.MemberListRequest, pb.MembersResponse)
MEMBER_PROMOTE = _member("MemberPromote", "promote", pb.MemberRequest, pb.MembersResponse)

ALARM = _upkeep("Alarm", "alarm", pb.AlarmRequest, pb.AlarmResponse)
STATUS = _upkeep("Status", "status", pb.Empty, pb.StatusResponse)
DEFRAGMENT = _upkeep("Defragment", "defragment", pb.Empty, pb.Done)
HASH = _upkeep("Hash", "hash", pb.Empty, pb.HashResponse)
# the gateway has one path for both hashes and means this one
HASH_KV = _upkeep("HashKV", "hash", pb.HashKVRequest, pb.HashKVResponse)
SNAPSHOT = Call(
    "/etcdserverpb.Maintenance/Snapshot", "/v3/maintenance/snapshot", pb.Empty, pb.SnapshotResponse, False, True
)
MOVE_LEADER = _upkeep("MoveLeader", "transfer-leadership", pb.MoveLeaderRequest, pb.Done)
DOWNGRADE = _upkeep("Downgrade", "downgrade", pb.DowngradeRequest, pb.DowngradeResponse)

AUTH_ENABLE = _auth("AuthEnable", "enable", pb.Empty, pb.Done)
AUTH_DISABLE = _auth("AuthDisable", "disable", pb.Empty, pb.Done)
AUTH_STATUS = _auth("AuthStatus", "status", pb.Empty, pb.AuthStatusResponse)
AUTHENTICATE = _auth("Authenticate", "authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse)
USER_ADD = _auth("UserAdd", "user/add", pb.AuthUserAddRequest, pb.Done)
USER_GET = _auth("UserGet", "user/get", pb.AuthNameRequest, pb.AuthRolesResponse)
USER_LIST = _auth("UserList", "user/list", pb.Empty, pb.AuthUserListResponse)
USER_DELETE = _auth("UserDelete", "user/delete", pb.AuthNameRequest, pb.Done)
USER_CHANGE_PASSWORD = _auth("UserChangePassword", "user/changepw", pb.AuthUserChangePasswordRequest, pb.Done)
USER_GRANT_ROLE = _auth("UserGrantRole", "user/grant", pb.AuthUserGrantRoleRequest, pb.Done)
USER_REVOKE_ROLE = _auth("UserRevokeRole", "user/revoke", pb.AuthUserRevokeRoleRequest, pb.Done)
ROLE_ADD = _auth("RoleAdd", "role/add", pb.AuthNameRequest, pb.Done)
ROLE_GET = _auth("RoleGet", "role/get", pb.AuthRoleRequest, pb.AuthRoleGetResponse)
ROLE_LIST = _auth("RoleList", "role/list", pb.Empty, pb.AuthRolesResponse)
ROLE_DELETE = _auth("RoleDelete", "role/delete", pb.AuthRoleRequest, pb.Done)
ROLE_GRANT_PERMISSION = _auth("RoleGrantPermission", "role/grant", pb.AuthRoleGrantPermissionRequest, pb.Done)
ROLE_REVOKE_PERMISSION = _auth("RoleRevokePermission", "role/revoke", pb.AuthRoleRevokePermissionRequest, pb.Done)

LOCK = _lock("Lock", "lock", pb.LockRequest, pb.LockResponse)
UNLOCK = _lock("Unlock", "unlock", pb.UnlockRequest, pb.Done)
CAMPAIGN = _election("Campaign", "campaign", pb.CampaignRequest, pb.CampaignResponse)
PROCLAIM = _election("Proclaim", "proclaim", pb.ProclaimRequest, pb.Done)
LEADER = _election("Leader", "leader", pb.LeaderRequest, pb.LeaderResponse)
OBSERVE = Call(
    "/v3electionpb.Election/Observe", "/v3/election/observe", pb.LeaderRequest, pb.LeaderResponse, False, True
)
RESIGN = _election("Resign", "resign", pb.ResignRequest, pb.Done)

CALLS: tuple[Call[Message, Message], ...] = tuple(each for each in list(globals().values()) if isinstance(each, Call))
