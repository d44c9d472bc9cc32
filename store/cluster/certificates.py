"""Who is who in a cluster: one CA, and a short-lived certificate for each machine (X.509, RFC 5280; EC P-256).

A machine makes its key and a request (CSR); the key never leaves it. A member of the cluster checks that the request
asks for exactly what that machine may have and issues a certificate whose names it writes itself: machine id as common
name and DNS name, `hawser://CLUSTER/machine/ID` as URI, its addresses. A `member` certificate is for a machine that
runs etcd: it has the peers' common name as well, so that a client's certificate opens no door among etcd's peers, and
the loopback names. Everything goes in and out as PEM; `now` is seconds since the epoch.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ..errors import Denied
from . import pem
from .names import Address, id_problem, refuse

DAY = 86_400.0
CA_LIFE = 3650 * DAY
LIFE = 7 * DAY
SKEW = 300.0
LOOPBACK = (ip_address("127.0.0.1"), ip_address("::1"))
USAGES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class Profile(StrEnum):
    """What a certificate is for: any machine of the cluster, or one that runs an etcd member too."""

    MACHINE = "machine"
    MEMBER = "member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A cluster's CA, with its private key."""

    key: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate names."""

    cluster: str
    machine: str
    addresses: tuple[Address, ...] = ()
    profile: Profile = Profile.MACHINE

    def __post_init__(self) -> None:
        refuse("certificate", (id_problem(self.cluster, "cluster id"), id_problem(self.machine, "machine id")))

    @property
    def uri(self) -> str:
        """The machine's name in the whole world."""
        return f"hawser://{self.cluster}/machine/{self.machine}"


def peer_name(cluster: str) -> str:
    """The DNS name that every etcd member's certificate has, and no other (etcd: --peer-cert-allowed-hostname)."""
    return f"etcd-peer.{cluster}.hawser.internal"


def new_key() -> bytes:
    """A new private key (PKCS #8), from the system's randomness."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_authority(cluster: str, *, now: float, serial: int, life: float = CA_LIFE) -> Authority:
    """A CA for a cluster: signs itself and machines, never another CA. `life` in seconds."""
    refuse("CA", [id_problem(cluster, "cluster id")])
    private = new_key()
    key = pem.read_key(private)
    digest = pem.hash_of(key.public_key())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"hawser cluster {cluster}"[:64]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, digest[7:23]),  # CAs of one cluster differ in name too
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, key.public_key(), serial, now - SKEW, now + life)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return Authority(key=private, certificate=pem.write(builder.sign(key, hashes.SHA256())))


def request(key: bytes, subject: Subject) -> bytes:
    """A request (CSR) for the subject's certificate, signed by its own key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject))
    builder = builder.add_extension(_names(subject), critical=False)
    return builder.sign(pem.read_key(key), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def check_request(csr: bytes, subject: Subject) -> None:
    """Whether a request asks for exactly what the subject may have (fewer addresses are fine). Invalid when it is no
    request, Denied with every problem otherwise."""
    asked = pem.read_request(csr)
    problems = [] if asked.is_signature_valid else ["its signature is not by its own key"]
    key = asked.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        problems.append("its key is not EC P-256")
    if asked.subject != _name(subject):
        problems.append(f"it is for {asked.subject.rfc4514_string() or 'nobody'}, not for CN={subject.machine}")
    for extension in asked.extensions:
        if extension.oid != ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            problems.append(f"it asks for {extension.oid._name or extension.oid.dotted_string}")
    may, wants = set(_names(subject)), set(_alternatives(asked))
    problems += [f"it asks for the name {_word(name)}" for name in sorted(wants - may, key=_word)]
    missing = {name for name in may - wants if not isinstance(name, x509.IPAddress)}
    problems += [f"it lacks the name {_word(name)}" for name in sorted(missing, key=_word)]
    if problems:
        raise Denied(f"certificate request refused: {'; '.join(problems)}")


def issue(authority: Authority, csr: bytes, subject: Subject, *, now: float, serial: int, life: float = LIFE) -> bytes:
    """The certificate for a request, after `check_request`: for client and server, from 5 min ago (clocks differ) for
    `life` seconds, but no longer than the CA. Only the key comes from the request. Denied, Invalid."""
    check_request(csr, subject)
    ca, ca_key = pem.read_certificate(authority.certificate), pem.read_key(authority.key)
    end = ca.not_valid_after_utc.timestamp()
    if now >= end:
        raise Denied(f"the cluster's CA has expired on {_day(ca.not_valid_after_utc)}: rotate it")
    asked = pem.read_request(csr)
    key = asked.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    wanted = [name for name in _names(subject) if name in set(_alternatives(asked))]
    builder = (
        _builder(_name(subject), key, serial, now - SKEW, min(now + life, end))
        .issuer_name(ca.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(USAGES), critical=False)
        .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return pem.write(builder.sign(ca_key, hashes.SHA256()))


def rotation_time(certificate: bytes, jitter: float) -> float:
    """From when on to ask for a new one: after 2/3 of its life, and up to a tenth more by `jitter` in [0, 1], so that
    machines that joined together do not come together. Keep the jitter of one certificate the same."""
    parsed = pem.read_certificate(certificate)
    start, end = parsed.not_valid_before_utc.timestamp() + SKEW, parsed.not_valid_after_utc.timestamp()
    return start + (end - start) * (2 / 3 + jitter / 10)


def expiry(certificate: bytes) -> float:
    """When it ends, in seconds since the epoch."""
    return pem.read_certificate(certificate).not_valid_after_utc.timestamp()


def subject_of(certificate: bytes) -> Subject:
    """Whom a certificate of ours names. Denied when its names are not those of a machine."""
    parsed = pem.read_certificate(certificate)
    names = list(_alternatives(parsed))
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    parts = uris[0].removeprefix("hawser://").split("/") if len(uris) == 1 and uris[0].startswith("hawser://") else []
    if len(parts) != 3 or parts[1] != "machine" or id_problem(parts[0], "") or id_problem(parts[2], ""):
        raise Denied("certificate: it names no machine of a cluster (hawser://CLUSTER/machine/ID)")
    member = x509.DNSName(peer_name(parts[0])) in names
    loopback = LOOPBACK if member else ()
    values = [name.value for name in names if isinstance(name, x509.IPAddress)]
    return Subject(
        cluster=parts[0],
        machine=parts[2],
        addresses=tuple(a for a in values if isinstance(a, IPv4Address | IPv6Address) and a not in loopback),
        profile=Profile.MEMBER if member else Profile.MACHINE,
    )


def verify(certificate: bytes, bundle: bytes, *, now: float, cluster: str | None = None) -> Subject:
    """Whom a certificate names, when one of the bundle's CAs issued it and it is valid now. Denied with the reason."""
    parsed = pem.read_certificate(certificate)
    if now < parsed.not_valid_before_utc.timestamp():
        raise Denied(
            f"certificate: valid only from {_day(parsed.not_valid_before_utc)}: compare the clocks of both machines"
        )
    if now > parsed.not_valid_after_utc.timestamp():
        raise Denied(f"certificate: expired on {_day(parsed.not_valid_after_utc)}: the machine must join again")
    roots = [pem.read_certificate(one) for one in pem.split(bundle)]
    if not any(_issued_by(parsed, root) for root in roots):
        raise Denied("certificate: issued by none of the cluster's CAs")
    when = datetime.fromtimestamp(now, UTC)
    try:
        PolicyBuilder().store(Store(roots)).time(when).build_client_verifier().verify(parsed, [])
    except VerificationError as error:
        raise Denied(f"certificate: {error}".replace("\n", " ")) from error
    subject = subject_of(certificate)
    if cluster is not None and subject.cluster != cluster:
        raise Denied(f"certificate: of cluster {subject.cluster}, not of {cluster}")
    return subject


def _builder(
    name: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, start: float, end: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(datetime.fromtimestamp(start, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(subject: Subject) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.machine)])


def _names(subject: Subject) -> x509.SubjectAlternativeName:
    dns, addresses = [subject.machine], list(dict.fromkeys(subject.addresses))
    if subject.profile is Profile.MEMBER:
        dns += [peer_name(subject.cluster), "localhost"]
        addresses += [address for address in LOOPBACK if address not in addresses]
    return x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in dns),
            x509.UniformResourceIdentifier(subject.uri),
            *(x509.IPAddress(address) for address in addresses),
        ]
    )


def _alternatives(holder: x509.Certificate | x509.CertificateSigningRequest) -> Iterable[x509.GeneralName]:
    try:
        return holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()


def _word(name: x509.GeneralName) -> str:
    return str(getattr(name, "value", name))


def _issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _day(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")
