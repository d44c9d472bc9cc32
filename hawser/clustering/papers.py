"""This machine's certificate: asked for at first, and where the CA's key is, made here.

A machine that may run a member has the CA's key, so it needs nobody for a certificate of its own. That is how a cluster
whose machines were all off for longer than their certificates lasted comes up again, and how a member's machine moves
to another address.
"""

import logging
import secrets
import time
from dataclasses import replace
from ipaddress import ip_address

from hawser.store import Unavailable
from hawser.store.cluster import certificates, pem
from hawser.store.cluster.certificates import Authority, Profile, Subject
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.joining import RenewAnswer, RenewRequest
from hawser.store.cluster.model import Role

log = logging.getLogger("hawser.cluster")


def serial() -> int:
    """A certificate's number: 159 random bits (RFC 5280 §4.1.2.2)."""
    return secrets.randbits(159) | 1


def subject(cluster: str, machine: str, addresses: tuple[str, ...], role: Role) -> Subject:
    """Whom a machine's certificate names."""
    profile = Profile.MEMBER if role is Role.MEMBER else Profile.MACHINE
    return Subject(cluster=cluster, machine=machine, addresses=tuple(map(ip_address, addresses)), profile=profile)


def issue_own(home: Home, authority: Authority, request: RenewRequest, life: float) -> RenewAnswer:
    """A certificate for this machine's own request, without asking anybody; the caller knows the endpoints."""
    named = certificates.subject_of(home.identity())
    issued = certificates.issue(authority, request.csr.encode(), named, now=time.time(), serial=serial(), life=life)
    return RenewAnswer(certificate=issued.decode(), ca=home.ca.read_text(), endpoints=())


def bring_up_to_date(home: Home, addresses: tuple[str, ...]) -> None:
    """Before anything else is started: a certificate that is valid and names the addresses of now. Where the CA's key
    is not, it stays as it is. Unavailable when that is of no use any more."""
    authority, text, now = home.authority(), home.identity(), time.time()
    if authority is None:
        if now >= certificates.expiry(text):
            raise Unavailable(
                "this machine's certificate has expired while it was off: it must join again, with a token made on a "
                "member's machine (hawser node join TOKEN)"
            )
        return
    named = certificates.subject_of(text)
    wanted = replace(named, addresses=tuple(map(ip_address, addresses)))
    ends = certificates.expiry(text)
    if set(wanted.addresses) == set(named.addresses) and now < ends:
        return
    life = ends - pem.read_certificate(text).not_valid_before_utc.timestamp() - certificates.SKEW
    key = certificates.new_key()
    csr = certificates.request(key, wanted)
    issued = certificates.issue(authority, csr, wanted, now=now, serial=serial(), life=life)
    home.save_identity(issued, key, home.ca.read_bytes())
    log.info("the machine's certificate had %s: it has a new one", "other addresses" if now < ends else "expired")
