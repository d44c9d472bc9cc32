"""PEM in and out: certificates, keys, requests, bundles of CAs, and the hash a CA is known by.

A CA is known by the hash of its public key, which join tokens carry. What cannot be read is Invalid and says so without
showing it: it may be a key.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from ..errors import Denied, Invalid

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def read_certificate(text: bytes) -> x509.Certificate:
    """The first certificate of a PEM text, or Invalid."""
    try:
        found = x509.load_pem_x509_certificate(text)
        _ = list(found.extensions), found.subject, found.public_key()
    except UNREADABLE as error:
        raise Invalid("certificate: this is not a whole one in PEM form") from error
    return found


def read_request(text: bytes) -> x509.CertificateSigningRequest:
    """A request (CSR), or Invalid."""
    try:
        found = x509.load_pem_x509_csr(text)
        # each is parsed only when it is asked for
        _ = list(found.extensions), found.subject, found.public_key(), found.is_signature_valid
    except UNREADABLE as error:
        raise Invalid("certificate request: this is not a whole one in PEM form") from error
    return found


def read_key(text: bytes) -> ec.EllipticCurvePrivateKey:
    """An EC private key without a password, or Invalid."""
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as error:
        raise Invalid("private key: this is not one in PEM form, without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Invalid("private key: it is not an EC key")
    return key


def write(certificate: x509.Certificate) -> bytes:
    """A certificate's PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def hash_of(key: CertificatePublicKeyTypes) -> str:
    """`sha256:` and the hash of the key's SubjectPublicKeyInfo (RFC 7469 §2.4; the form kubeadm prints)."""
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def key_hash(text: bytes) -> str:
    """The hash of the key that a certificate or a request is for; of a CA, what a token carries."""
    if b"REQUEST-----" in text:
        return hash_of(read_request(text).public_key())
    return hash_of(read_certificate(text).public_key())


def split(bundle: bytes) -> tuple[bytes, ...]:
    """Each certificate of a bundle, in its order. Invalid when there is none."""
    try:
        return tuple(write(one) for one in x509.load_pem_x509_certificates(bundle))
    except ValueError as error:
        raise Invalid("CA bundle: there is no readable certificate in it; give PEM") from error


def join(certificates: Iterable[bytes]) -> bytes:
    """A bundle of CAs, each once, in the order given. Invalid when one is no CA, or none is given."""
    found: dict[str, bytes] = {}
    for one in certificates:
        _check_ca(one)
        found.setdefault(key_hash(one), write(read_certificate(one)))
    if not found:
        raise Invalid("CA bundle: give at least one certificate")
    return b"".join(found.values())


def pinned(bundle: bytes, wanted: str, *, now: float) -> bytes:
    """The CA in what a stranger sent whose hash we were told: trust this one, nothing else it sent. Denied when there
    is none, or it is not valid now (seconds since the epoch)."""
    for one in split(bundle):
        if key_hash(one) != wanted:
            continue
        _check_ca(one)
        parsed, when = read_certificate(one), datetime.fromtimestamp(now, UTC)
        if not parsed.not_valid_before_utc <= when <= parsed.not_valid_after_utc:
            raise Denied("the cluster's CA is not valid now: compare the clocks of both machines")
        return one
    raise Denied("who answered is not of the token's cluster: its CA has another hash; make a new token there")


def _check_ca(certificate: bytes) -> None:
    try:
        constraints = read_certificate(certificate).extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.value.ca:
        raise Invalid("CA bundle: one of the certificates is not a CA's")
