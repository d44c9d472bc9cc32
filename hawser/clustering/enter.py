"""How a machine comes to be of a cluster: it founds one, is let into one by a token, or is shown an etcd.

Each ends with the machine's own files; what belongs into the store follows when that is open (settle.py). A second
time changes nothing, and no machine is of two clusters.
"""

import secrets
import time
from ipaddress import ip_address

from hawser.store.cluster import certificates, pem, tokens
from hawser.store.cluster.certificates import Profile, Subject
from hawser.store.cluster.drivers import knock
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.joining import JoinAnswer, JoinRequest
from hawser.store.cluster.model import Cluster, Founding, Membership, Role, check_founds, check_joins

from .place import Ports, at

SIZES = (1, 3, 5, 7)


def found(home: Home, machine: str, addresses: tuple[str, ...], ports: Ports, size: int) -> Membership:
    """Make this machine the first of a new cluster that wants `size` etcd members. Conflict when it is of one."""
    check_founds(home.membership())
    now, cluster = time.time(), secrets.token_hex(8)
    authority = certificates.new_authority(cluster, now=now, serial=serial())
    ca = pem.key_hash(authority.certificate)
    key, csr, subject = asking(cluster, machine, addresses, Role.MEMBER)
    issued = certificates.issue(authority, csr, subject, now=now, serial=serial())
    home.save_authority(authority)
    home.save_identity(issued, key, authority.certificate)
    home.begin_founding(Founding(cluster=Cluster(id=cluster, created=now, ca=(ca,), members=size)))
    endpoints = (at(addresses[0], ports.client),)
    return _belong(
        home, Membership(cluster=cluster, machine=machine, role=Role.MEMBER, endpoints=endpoints, ca=(ca,), joined=now)
    )


async def join(home: Home, machine: str, addresses: tuple[str, ...], text: str) -> Membership:
    """Come in by a token. Invalid, Denied, Conflict when the machine is of another cluster, Unavailable."""
    token = tokens.parse(text)
    current = home.membership()
    check_joins(current, token.cluster)
    if current is not None:
        return current
    key, csr, _ = asking(token.cluster, machine, addresses, token.role)
    request = JoinRequest(token=token.id, secret=token.secret, machine=machine, addresses=addresses, csr=csr.decode())
    answer = await knock.join(token, request)
    return _take(home, machine, key, answer)


def _take(home: Home, machine: str, key: bytes, answer: JoinAnswer) -> Membership:
    if answer.authority is not None:
        home.save_authority(answer.authority)
    home.save_identity(answer.certificate.encode(), key, answer.ca.encode())
    endpoints = tuple(url.removeprefix("https://") for url in answer.endpoints)
    return _belong(
        home,
        Membership(
            cluster=answer.cluster.id,
            machine=machine,
            role=answer.role,
            endpoints=endpoints,
            ca=answer.cluster.ca,
            joined=time.time(),
        ),
    )


def _belong(home: Home, membership: Membership) -> Membership:
    home.save_membership(membership)
    return membership


def asking(cluster: str, machine: str, addresses: tuple[str, ...], role: Role) -> tuple[bytes, bytes, Subject]:
    """A new key, the request for its certificate, and whom that will name."""
    profile = Profile.MEMBER if role is Role.MEMBER else Profile.MACHINE
    subject = Subject(cluster=cluster, machine=machine, addresses=tuple(map(ip_address, addresses)), profile=profile)
    key = certificates.new_key()
    return key, certificates.request(key, subject), subject


def serial() -> int:
    """A certificate's number: 159 random bits (RFC 5280 §4.1.2.2)."""
    return secrets.randbits(159) | 1
