"""How a machine comes to be of a cluster: it founds one, or is let into one by a token.

Each ends with the machine's own files, of which the membership comes last; what belongs into the store follows when
that is open (settle.py). What was cut off is done again by the same command, and no machine is of two clusters.
"""

import secrets
import select
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from hawser.store import Conflict, Unavailable
from hawser.store.cluster import certificates, pem, tokens
from hawser.store.cluster.certificates import LIFE
from hawser.store.cluster.drivers import knock
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.drivers.outliving import adopt
from hawser.store.cluster.joining import JoinAnswer, JoinRequest
from hawser.store.cluster.member_plan import PATIENCE
from hawser.store.cluster.model import Cluster, Founding, Membership, Role, check_founds, check_joins

from .papers import serial, subject
from .place import Ports, at

KILLED_WITHIN = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A cluster to found: so many etcd members, each replaced after `patience` seconds without an answer; `life` of
    certificates in seconds."""

    members: int = 3
    patience: float = PATIENCE
    life: float = LIFE


def found(home: Home, machine: str, addresses: tuple[str, ...], ports: Ports, wanted: Wanted) -> Membership:
    """Make this machine the first of a new cluster, or go on where that was cut off. Conflict when it is of one."""
    begun, current = home.founding(), home.membership()
    if begun is not None and current is not None and begun.cluster.id == current.cluster:
        _check_same(begun.cluster, wanted)
        return current
    check_founds(current)
    if shutil.which("etcd") is None:
        raise Unavailable("a cluster's members are etcd's, and there is no program etcd: install it (etcd-server)")
    home.start_anew()
    now, id_ = time.time(), secrets.token_hex(8)
    authority = certificates.new_authority(id_, now=now, serial=serial())
    ca = pem.key_hash(authority.certificate)
    cluster = Cluster(id=id_, created=now, ca=(ca,), members=wanted.members, patience=wanted.patience, life=wanted.life)
    key, named = certificates.new_key(), subject(id_, machine, addresses, Role.MEMBER)
    csr = certificates.request(key, named)
    issued = certificates.issue(authority, csr, named, now=now, serial=serial(), life=wanted.life)
    home.save_authority(authority)
    home.save_identity(issued, key, authority.certificate)
    home.begin_founding(Founding(cluster=cluster))
    membership = Membership(
        cluster=id_,
        machine=machine,
        role=Role.MEMBER,
        endpoints=(at(addresses[0], ports.client),),
        ca=(ca,),
        joined=now,
    )
    home.save_membership(membership)
    return membership


def _check_same(begun: Cluster, wanted: Wanted) -> None:
    if begun.members != wanted.members:
        raise Conflict(
            f"this machine is founding cluster {begun.id} of {begun.members} members: go on with "
            f"--cluster-init {begun.members}, or without it"
        )


async def join(home: Home, machine: str, addresses: tuple[str, ...], text: str) -> Membership:
    """Come in by a token; anew, when the machine was off for longer than its certificate lasted. Invalid, Denied,
    Conflict when the machine is of another cluster, Unavailable."""
    token = tokens.parse(text)
    current = home.membership()
    check_joins(current, token.cluster)
    if current is not None and not _expired(home):
        return current
    if current is None:
        home.start_anew()
    key = home.asking(certificates.new_key)
    csr = certificates.request(key, subject(token.cluster, machine, addresses, token.role))
    request = JoinRequest(token=token.id, secret=token.secret, machine=machine, addresses=addresses, csr=csr.decode())
    answer = await knock.join(token, request)
    return _take(home, machine, key, answer)


def _expired(home: Home) -> bool:
    """Whether nobody takes this machine's certificate any more; one with the CA's key makes itself another."""
    return home.authority() is None and certificates.expiry(home.identity()) <= time.time()


def _take(home: Home, machine: str, key: bytes, answer: JoinAnswer) -> Membership:
    if answer.authority is not None:
        home.save_authority(answer.authority)
    home.save_identity(answer.certificate.encode(), key, answer.ca.encode())
    membership = Membership(
        cluster=answer.cluster.id,
        machine=machine,
        role=answer.role,
        endpoints=tuple(url.removeprefix("https://") for url in answer.endpoints),
        ca=answer.cluster.ca,
        joined=time.time(),
    )
    home.save_membership(membership)
    return membership


def set_leftovers_aside(data: Path) -> None:
    """What a machine that is of no cluster still has of its last one's etcd, as a leave that was cut off leaves it, is
    in nobody's way any more: its process ended, its directory renamed."""
    etcd = data / "etcd"
    if not etcd.is_dir():
        return
    process = adopt(etcd / "process")
    if process is not None:
        process.signal(signal.SIGKILL)
        select.select([process.fd], [], [], KILLED_WITHIN)
        process.close()
    etcd.rename(data / f"etcd.left-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
