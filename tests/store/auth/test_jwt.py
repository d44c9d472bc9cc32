"""Signed tokens; `test_against_etcd.py` shows that etcd takes HS256 ones."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hawser.store import Invalid
from hawser.store.auth import Identity, InvalidToken, VerifyOnly
from hawser.store.auth.jwt import METHODS, JwtTokens, load_key

# RFC 7515, appendix A.1: a key and a token that others made
RFC_KEY = base64.urlsafe_b64decode(
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
)
RFC_TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


RSA, EC, P384 = (
    pem(rsa.generate_private_key(65537, 2048)),
    pem(ec.generate_private_key(ec.SECP256R1())),
    pem(ec.generate_private_key(ec.SECP384R1())),
)
KEYS: dict[str, tuple[bytes, bytes | None]] = {"HS256": (b"secret", None), "RS256": RSA, "ES256": EC}


@pytest.fixture(params=METHODS)
def tokens(request: pytest.FixtureRequest) -> JwtTokens:
    return JwtTokens(load_key(request.param, *KEYS[request.param]), ttl=60)


def test_a_token_says_who_and_at_which_revision(tokens: JwtTokens) -> None:
    token = tokens.issue("é", 7, now=1000)
    assert tokens.identify(token, 9, now=1060) == Identity("é", 7)
    with pytest.raises(InvalidToken):
        tokens.identify(token, 9, now=1060.1)


def test_a_changed_token_is_none(tokens: JwtTokens) -> None:
    header, claims, signature = tokens.issue("u", 7, now=1000).split(".")
    other = base64.urlsafe_b64encode(b'{"username":"root","revision":7}').rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b"[" * 99_999).decode()
    for forged in (
        f"{deep}.{claims}.{signature}",
        f"{header}.{other}.{signature}",
        f"{none}.{claims}.{signature}",
        f"{none}.{claims}.",
        f"{header}.{claims}.{signature[:-4]}",
        f"{header}.{claims}.AAAA",
        f"{header}.{claims}",
        "",
        "é.é.é",
        "simple.7",
    ):
        with pytest.raises(InvalidToken):
            tokens.identify(forged, 7, now=1000)


@pytest.mark.parametrize("method", ["RS256", "ES256"])
def test_a_public_key_only_verifies(method: str) -> None:
    private, public = KEYS[method]
    token = JwtTokens(load_key(method, private)).issue("u", 7, now=0)
    verifier = JwtTokens(load_key(method, None, public))
    assert verifier.identify(token, 7, now=0) == Identity("u", 7)
    with pytest.raises(VerifyOnly):
        verifier.issue("u", 7, now=0)


def test_a_public_key_is_no_secret() -> None:
    _, public = RSA
    forged = JwtTokens(load_key("HS256", public)).issue("root", 7, now=0)
    with pytest.raises(InvalidToken):
        JwtTokens(load_key("RS256", None, public)).identify(forged, 7, now=0)


@pytest.mark.parametrize(
    "claims",
    [
        {"username": "u"},
        {"revision": 7},
        {"username": 7, "revision": 7},
        {"username": "u", "revision": "7"},
        {"username": "u", "revision": -1},
        {"username": "u", "revision": 7, "exp": "soon"},
        {"username": "u", "revision": 7, "nbf": 1001},
        ["username"],
    ],
    ids=str,
)
def test_claims_that_make_no_sense(claims: object) -> None:
    key = load_key("HS256", b"secret")
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, claims)]
    signed = b".".join(parts)
    token = b".".join((signed, base64.urlsafe_b64encode(key.sign(signed)).rstrip(b"=")))
    with pytest.raises(InvalidToken):
        JwtTokens(key).identify(token.decode(), 7, now=1000)


def test_signatures_are_the_standards() -> None:
    signed, _, signature = RFC_TOKEN.rpartition(".")
    assert load_key("HS256", RFC_KEY).sign(signed.encode()) == base64.urlsafe_b64decode(signature + "=")


@pytest.mark.parametrize(
    ("method", "private", "public"),
    [
        ("none", b"x", None),
        ("HS256", None, b"x"),
        ("RS256", None, None),
        ("RS256", b"no key", None),
        ("RS256", EC[0], None),
        ("RS256", RSA[0], EC[1]),
        ("ES256", RSA[0], None),
        ("ES256", P384[0], None),
        ("ES256", RSA[0], EC[1]),
    ],
)
def test_keys_that_do_not_fit(method: str, private: bytes | None, public: bytes | None) -> None:
    with pytest.raises(Invalid):
        load_key(method, private, public)
