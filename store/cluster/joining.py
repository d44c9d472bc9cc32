"""Who may come in: join requests judged by their token, certificates issued, and renewed while the machine is known.

The new machine has checked by the token's hash that it talks to the cluster's CA before it tells its secret. What it
gets: a certificate for its key, the CAs to trust, and where etcd answers. A machine that may run an etcd member gets
the CA's private key too: whoever holds the data of the whole cluster is trusted with it already, and so the cluster
issues certificates as long as any member lives. Times are seconds since the epoch; `serial` is random.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import msgspec

from ..errors import Conflict, Denied, NotFound, Unavailable
from ..kv import Compare, PutOp, Store, absent, unchanged
from . import certificates, pem, tokens
from .certificates import LIFE, Authority, Profile, Subject
from .model import (
    CLUSTER,
    MACHINES,
    TOKENS,
    Cluster,
    Machine,
    Role,
    decode,
    encode,
    machine_key,
    member_key,
    token_key,
)
from .names import address_problem, id_problem, refuse
from .tokens import Token, TokenRecord, TokenState

TRIES = 5


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`token` is its id; `csr` in PEM."""

    token: str
    secret: str
    machine: str
    addresses: tuple[str, ...]
    csr: str


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine needs to take part: PEM texts, etcd's client URLs; `authority` for members only."""

    cluster: Cluster
    role: Role
    certificate: str
    ca: str
    endpoints: tuple[str, ...]
    authority: Authority | None = None


class RenewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A new key's request, from a machine that shows its present certificate."""

    csr: str


class RenewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """PEM texts, and etcd's client URLs as they are now."""

    certificate: str
    ca: str
    endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A token as operators see it."""

    record: TokenRecord
    state: TokenState


class Doorkeeper:
    """On a machine that has the CA's key. `endpoints()` are etcd's client URLs now."""

    def __init__(
        self,
        store: Store,
        cluster: str,
        authority: Authority,
        bundle: bytes,
        endpoints: Callable[[], Sequence[str]],
        *,
        clock: Callable[[], float],
        serial: Callable[[], int],
        life: float = LIFE,
    ) -> None:
        self._store, self._cluster, self._authority, self.bundle = store, cluster, authority, bundle
        self._endpoints, self._clock, self._serial, self._life = endpoints, clock, serial, life

    async def join(self, request: JoinRequest) -> JoinAnswer:
        """Let a machine in. Invalid, Denied, Conflict when the machine is there already; Unavailable while the store
        is."""
        names = (id_problem(request.machine, "machine id"), *map(address_problem, request.addresses))
        refuse("join", names)
        csr = request.csr.encode()
        record = await self._spend(request, csr)
        subject = self._subject(request, record.role)
        return JoinAnswer(
            cluster=await self._record(),
            role=record.role,
            certificate=self._issue(csr, subject).decode(),
            ca=self.bundle.decode(),
            endpoints=tuple(self._endpoints()),
            authority=self._authority if record.role is Role.MEMBER else None,
        )

    def renew(self, shown: bytes | None, request: RenewRequest) -> RenewAnswer:
        """A new certificate for who shows a valid one (PEM), with the names of that one. Denied, Invalid."""
        if shown is None:
            raise Denied("renewal: show the machine's present certificate")
        subject = certificates.verify(shown, self.bundle, now=self._clock(), cluster=self._cluster)
        issued = self._issue(request.csr.encode(), subject)
        return RenewAnswer(certificate=issued.decode(), ca=self.bundle.decode(), endpoints=tuple(self._endpoints()))

    def _subject(self, request: JoinRequest, role: Role) -> Subject:
        return Subject(
            cluster=self._cluster,
            machine=request.machine,
            addresses=tuple(map(ip_address, request.addresses)),
            profile=Profile.MEMBER if role is Role.MEMBER else Profile.MACHINE,
        )

    async def _spend(self, request: JoinRequest, csr: bytes) -> TokenRecord:
        """Use the token once, whoever else tries at the same moment; not for a request that will be refused."""
        key = pem.key_hash(csr)
        for _ in range(TRIES):
            where = token_key(request.token)
            entry = await self._store.get(where)
            record = None if entry is None else decode(TokenRecord, entry.value, where)
            spent = tokens.spend(
                record,
                token=request.token,
                secret=request.secret,
                machine=request.machine,
                key=key,
                now=self._clock(),
            )
            assert entry is not None
            certificates.check_request(csr, self._subject(request, spent.role))
            await self._check_stranger(request)
            if spent == record or (await self._store.txn([unchanged(entry)], [PutOp(where, encode(spent))])).succeeded:
                return spent
        raise Unavailable("many machines use this token at once; try again")

    async def _check_stranger(self, request: JoinRequest) -> None:
        """Conflict when somebody with this id or one of these addresses is of the cluster: a token is no way to take
        another one's place."""
        machine = request.machine
        for key in (machine_key(machine), member_key(machine)):
            if await self._store.get(key) is not None:
                raise Conflict(
                    f"a machine {machine} is in this cluster already: if this one is its copy, stop the node, delete "
                    "machine-id in its data directory, and join again; if it is the same, try again in some seconds"
                )
        for entry in (await self._store.range(MACHINES, prefix=True)).kvs:
            other = decode(Machine, entry.value, entry.key)
            if taken := sorted(set(request.addresses) & set(other.addresses)):
                raise Conflict(f"address {taken[0]} is that of machine {other.id}: give this one's own (--address)")

    async def _record(self) -> Cluster:
        entry = await self._store.get(CLUSTER)
        if entry is None:
            raise Unavailable("the cluster has no record of itself yet; try again")
        return decode(Cluster, entry.value, CLUSTER)

    def _issue(self, csr: bytes, subject: Subject) -> bytes:
        now, serial = self._clock(), self._serial()
        return certificates.issue(self._authority, csr, subject, now=now, serial=serial, life=self._life)


async def make_token(store: Store, token: Token, record: TokenRecord) -> None:
    """Keep a minted token's record, and forget those that ended long ago. Conflict when the id is taken."""
    await forget_tokens(store, record.created)
    where = token_key(token.id)
    if not (await store.txn([absent(where)], [PutOp(where, encode(record))])).succeeded:
        raise Conflict(f"a token {token.id} exists already; try again")


async def list_tokens(store: Store, now: float) -> list[Listed]:
    """All tokens that are not forgotten, by their creation."""
    found = await store.range(TOKENS, prefix=True)
    records = sorted((decode(TokenRecord, e.value, e.key) for e in found.kvs), key=lambda record: record.created)
    return [Listed(record=record, state=tokens.state(record, now)) for record in records]


async def revoke_token(store: Store, token: str) -> None:
    """Take a token back. NotFound when there is none."""
    where = token_key(token)
    while (entry := await store.get(where)) is not None:
        gone = tokens.revoke(decode(TokenRecord, entry.value, where))
        compares: list[Compare] = [unchanged(entry)]
        if (await store.txn(compares, [PutOp(where, encode(gone))])).succeeded:
            return
    raise NotFound(f"no token {token}; see: hawser node token ls")


async def forget_tokens(store: Store, now: float) -> None:
    """Drop the records of tokens that ended long ago."""
    for entry in (await store.range(TOKENS, prefix=True)).kvs:
        if decode(TokenRecord, entry.value, entry.key).forgotten <= now:
            await store.delete(entry.key)
