"""A machine's certificate: what may be asked for, what is issued, and who believes it until when."""

from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hawser.store import Denied, Invalid
from hawser.store.cluster import certificates, pem
from hawser.store.cluster.certificates import DAY, LIFE, SKEW, Profile, Subject

NOW = 1_800_000_000.0
AUTHORITY = certificates.new_authority("c1", now=NOW, serial=1)
KEY = certificates.new_key()
M1 = Subject(cluster="c1", machine="m1", addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")))
MEMBER = Subject(cluster="c1", machine="m1", addresses=M1.addresses, profile=Profile.MEMBER)
CSR = certificates.request(KEY, M1)
BUNDLE = pem.join([AUTHORITY.certificate])


def issued(subject: Subject = M1, now: float = NOW, **more: float) -> bytes:
    return certificates.issue(AUTHORITY, certificates.request(KEY, subject), subject, now=now, serial=7, **more)


def names(certificate: bytes) -> list[str]:
    extension = pem.read_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def test_a_machines_certificate_says_who_it_is_and_is_for_both_ends() -> None:
    parsed = pem.read_certificate(issued())
    assert parsed.subject.rfc4514_string() == "CN=m1"
    assert names(issued()) == ["m1", "hawser://c1/machine/m1", "10.0.0.1", "fd00::1"]
    usage = parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert parsed.serial_number == 7
    assert parsed.not_valid_before_utc.timestamp() == NOW - SKEW
    assert parsed.not_valid_after_utc.timestamp() == NOW + LIFE
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert pem.key_hash(issued()) == pem.key_hash(CSR)


def test_a_members_has_the_peers_name_and_loopback_too() -> None:
    assert names(issued(MEMBER)) == [
        *("m1", "etcd-peer.c1.hawser.internal", "localhost", "hawser://c1/machine/m1"),
        *("10.0.0.1", "fd00::1", "127.0.0.1", "::1"),
    ]


@pytest.mark.parametrize("subject", [M1, MEMBER, Subject(cluster="c1", machine="m1")])
def test_whom_a_certificate_names_is_read_back(subject: Subject) -> None:
    assert certificates.subject_of(issued(subject)) == subject
    assert certificates.verify(issued(subject), BUNDLE, now=NOW, cluster="c1") == subject


def test_fewer_addresses_than_allowed_may_be_asked_for() -> None:
    fewer = Subject(cluster="c1", machine="m1", addresses=M1.addresses[:1])
    certificate = certificates.issue(AUTHORITY, certificates.request(KEY, fewer), M1, now=NOW, serial=1)
    assert certificates.subject_of(certificate) == fewer


def test_every_wish_beyond_what_a_machine_may_have_is_named() -> None:
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "m2")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("m1"), x509.DNSName("*.example")]),
            critical=False,
        )
        .sign(rsa.generate_private_key(65537, 2048), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    with pytest.raises(Denied) as refused:
        certificates.issue(AUTHORITY, greedy, M1, now=NOW, serial=1)
    assert str(refused.value) == (
        "certificate request refused: its key is not EC P-256; it is for CN=m2, not for CN=m1; "
        "it asks for basicConstraints; it asks for the name *.example; it lacks the name hawser://c1/machine/m1"
    )


@pytest.mark.parametrize(
    ("asked", "wish"),
    [
        (MEMBER, "it asks for the name 127.0.0.1; it asks for the name ::1; it asks for the name etcd-peer.c1"),
        (Subject(cluster="c1", machine="m2"), "for CN=m2, not for CN=m1"),
        (Subject(cluster="c2", machine="m1"), "it asks for the name hawser://c2/machine/m1"),
        (Subject(cluster="c1", machine="m1", addresses=(ip_address("10.0.0.9"),)), "it asks for the name 10.0.0.9"),
    ],
)
def test_no_machine_gets_anothers_names(asked: Subject, wish: str) -> None:
    with pytest.raises(Denied, match=wish.replace("*", r"\*")):
        certificates.check_request(certificates.request(KEY, asked), M1)


def test_a_request_that_was_changed_is_refused() -> None:
    raw = bytearray(pem.read_request(CSR).public_bytes(serialization.Encoding.DER))
    raw[-1] ^= 1
    changed = x509.load_der_x509_csr(bytes(raw)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Denied, match="its signature is not by its own key"):
        certificates.check_request(changed, M1)


@pytest.mark.parametrize("text", [b"", b"nonsense", CSR[:200], b"\xff\xfe", AUTHORITY.key])
def test_what_is_no_pem_is_said_without_showing_it(text: bytes) -> None:
    for read in (pem.read_certificate, pem.read_request, pem.split):
        with pytest.raises(Invalid) as error:
            read(text)
        assert "PRIVATE" not in str(error.value)
    if text != AUTHORITY.key:
        with pytest.raises(Invalid, match="private key"):
            pem.read_key(text)


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW + LIFE + 1, "expired on 2027-01-22"), (NOW - SKEW - 1, "valid only from .* compare the clocks")],
)
def test_a_certificate_outside_of_its_time_is_refused(now: float, reason: str) -> None:
    with pytest.raises(Denied, match=reason):
        certificates.verify(issued(), BUNDLE, now=now)


def test_a_certificate_by_another_ca_or_for_another_cluster_is_refused() -> None:
    other = certificates.new_authority("c1", now=NOW, serial=1)
    with pytest.raises(Denied, match="issued by none of the cluster's CAs"):
        certificates.verify(issued(), pem.join([other.certificate]), now=NOW)
    with pytest.raises(Denied, match="of cluster c1, not of c2"):
        certificates.verify(issued(), BUNDLE, now=NOW, cluster="c2")
    with pytest.raises(Denied, match="certificate: "):
        certificates.verify(AUTHORITY.certificate, BUNDLE, now=NOW)  # a CA is no machine


def test_no_certificate_outlives_its_ca() -> None:
    short = certificates.new_authority("c1", now=NOW, serial=1, life=DAY)
    certificate = certificates.issue(short, CSR, M1, now=NOW, serial=1)
    assert pem.read_certificate(certificate).not_valid_after_utc.timestamp() == NOW + DAY
    with pytest.raises(Denied, match="the cluster's CA has expired on 2027-01-16"):
        certificates.issue(short, CSR, M1, now=NOW + DAY, serial=1)


def test_a_certificate_is_renewed_after_two_thirds_of_its_life_spread_by_a_tenth() -> None:
    first, last = NOW + LIFE * 2 / 3, NOW + LIFE * (2 / 3 + 0.1)
    assert certificates.rotation_time(issued(), 0.0) == pytest.approx(first)
    assert certificates.rotation_time(issued(), 1.0) == pytest.approx(last)


@pytest.mark.parametrize("name", ["", "A", "a/b", "a.b", "-a", "a" * 64])
def test_names_that_fit_no_certificate_are_refused(name: str) -> None:
    with pytest.raises(Invalid, match="cluster id"):
        certificates.new_authority(name, now=NOW, serial=1)
    with pytest.raises(Invalid, match="machine id"):
        Subject(cluster="c1", machine=name)


def test_the_longest_names_fit() -> None:
    longest = Subject(cluster="c" * 63, machine="m" * 63, profile=Profile.MEMBER)
    authority = certificates.new_authority(longest.cluster, now=NOW, serial=1)
    certificate = certificates.issue(authority, certificates.request(KEY, longest), longest, now=NOW, serial=1)
    assert certificates.verify(certificate, authority.certificate, now=NOW) == longest


def test_a_ca_signs_machines_only() -> None:
    parsed = pem.read_certificate(AUTHORITY.certificate)
    constraints = parsed.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert parsed.not_valid_after_utc.timestamp() == NOW + 3650 * DAY
    assert isinstance(parsed.public_key(), ec.EllipticCurvePublicKey)
