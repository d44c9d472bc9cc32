"""Certificates as users."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hawser.store.auth import InvalidToken
from hawser.store.auth.certificates import common_name

KEY = ec.generate_private_key(ec.SECP256R1())
DAY = datetime.datetime(2026, 1, 1)


def certificate(*names: tuple[x509.ObjectIdentifier, str]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), 1, DAY, DAY + datetime.timedelta(days=1))
    return builder.sign(KEY, hashes.SHA256())


@pytest.mark.parametrize(
    ("names", "user"),
    [
        ([(NameOID.COMMON_NAME, "u")], "u"),
        ([(NameOID.ORGANIZATION_NAME, "o"), (NameOID.COMMON_NAME, "é")], "é"),
        ([(NameOID.COMMON_NAME, "first"), (NameOID.COMMON_NAME, "last")], "last"),
        ([(NameOID.ORGANIZATION_NAME, "o")], ""),
    ],
)
def test_the_common_name_is_the_user(names: list[tuple[x509.ObjectIdentifier, str]], user: str) -> None:
    made = certificate(*names)
    assert common_name(made.public_bytes(Encoding.PEM)) == user
    assert common_name(made.public_bytes(Encoding.DER)) == user


@pytest.mark.parametrize("nonsense", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_nonsense_is_nobody(nonsense: bytes) -> None:
    with pytest.raises(InvalidToken):
        common_name(nonsense)
