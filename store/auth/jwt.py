"""Signed tokens (RFC 7519, compact), as etcd's `jwt` provider makes them: claims username, revision and exp.

The algorithm is the store's, never the token's. What exp, nbf and iat say is kept, as etcd keeps it. A signed token
outlives nothing: it says at which revision of users and roles it was given, and the guard refuses older ones.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, TypeGuard

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from ..errors import Invalid
from .errors import InvalidToken, VerifyOnly
from .model import AuthState, Identity
from .tokens import TTL

METHODS = ("HS256", "RS256", "ES256")
_ES256_BYTES = 32
_EcPrivate = ec.EllipticCurvePrivateKey


class Hmac:
    """HS256: one secret signs and verifies."""

    method = "HS256"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self._secret, data, "sha256")

    def verify(self, data: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.sign(data), signature)


class Rsa:
    """RS256 (PKCS #1 v1.5)."""

    method = "RS256"

    def __init__(self, private: rsa.RSAPrivateKey | None, public: rsa.RSAPublicKey) -> None:
        self._private, self._public = private, public

    def sign(self, data: bytes) -> bytes:
        if self._private is None:
            raise VerifyOnly("this member has no private key to sign tokens with; ask another, or give it one")
        return self._private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def verify(self, data: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


class Ecdsa:
    """ES256 (P-256; the signature is r and s, 32 bytes each)."""

    method = "ES256"

    def __init__(self, private: ec.EllipticCurvePrivateKey | None, public: ec.EllipticCurvePublicKey) -> None:
        self._private, self._public = private, public

    def sign(self, data: bytes) -> bytes:
        if self._private is None:
            raise VerifyOnly("this member has no private key to sign tokens with; ask another, or give it one")
        r, s = decode_dss_signature(self._private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_ES256_BYTES, "big") + s.to_bytes(_ES256_BYTES, "big")

    def verify(self, data: bytes, signature: bytes) -> bool:
        if len(signature) != 2 * _ES256_BYTES:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:_ES256_BYTES], signature[_ES256_BYTES:]))
        try:
            self._public.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


Key = Hmac | Rsa | Ecdsa


def load_key(method: str, private: bytes | None, public: bytes | None = None) -> Key:
    """The key of a method: HS256's secret is `private`; the others' are PEM, and the public one alone only verifies.
    Invalid."""
    if method not in METHODS:
        raise Invalid(f"the signing method {method!r} is none of {' '.join(METHODS)}")
    if private is None and (public is None or method == "HS256"):
        raise Invalid(f"{method} needs a key; give one")
    if method == "HS256":
        return Hmac(private or b"")
    try:
        signer = load_pem_private_key(private, None) if private is not None else None
        verifier = load_pem_public_key(public) if public is not None else signer and _public(signer)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid(f"cannot read the {method} key: {error}; give it as PEM, without a password") from error
    if method == "RS256" and isinstance(signer, rsa.RSAPrivateKey | None) and isinstance(verifier, rsa.RSAPublicKey):
        return Rsa(signer, verifier)
    if method == "ES256" and isinstance(signer, _EcPrivate | None) and _on_p256(verifier):
        return Ecdsa(signer, verifier)
    raise Invalid(f"the key is of another kind than {method} needs; give an RSA key for RS256, a P-256 one for ES256")


def _public(signer: PrivateKeyTypes) -> PublicKeyTypes:
    return signer.public_key()


def _on_p256(key: object) -> TypeGuard[ec.EllipticCurvePublicKey]:
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


class JwtTokens:
    """Tokens signed with `key`, good for `ttl` seconds."""

    def __init__(self, key: Key, ttl: float = TTL) -> None:
        self._key = key
        self._ttl = ttl

    def issue(self, user: str, revision: int, *, now: float, prefix: str = "", index: int = 0) -> str:
        header = _part({"alg": self._key.method, "typ": "JWT"})
        claims = _part({"exp": int(now + self._ttl), "revision": revision, "username": user})
        signed = header + b"." + claims
        return (signed + b"." + _armour(self._key.sign(signed))).decode()

    def identify(self, token: str, revision: int, *, now: float) -> Identity:
        try:
            header, claims, signature = token.encode().split(b".")
            method = _read(header).get("alg")
            right = method == self._key.method and self._key.verify(header + b"." + claims, _bare(signature))
            identity = _identity(_read(claims), now) if right else None
        except ValueError as error:
            raise InvalidToken("this token is not one of this store's; authenticate again") from error
        if identity is None:
            raise InvalidToken("this token is forged, expired or not yet good; authenticate again")
        return identity

    def follow(self, before: AuthState, after: AuthState) -> None:
        """Nothing to forget: the revision in each says it."""


def _identity(claims: Mapping[str, Any], now: float) -> Identity | None:
    if now > _time(claims, "exp", now) or now < max(_time(claims, "nbf", now), _time(claims, "iat", now)):
        return None
    user, revision = claims.get("username"), claims.get("revision")
    if not isinstance(user, str) or not isinstance(revision, int | float) or not 0 <= revision < 1 << 63:
        return None
    return Identity(user, int(revision))


def _time(claims: Mapping[str, Any], name: str, otherwise: float) -> float:
    """ValueError."""
    value = claims.get(name, otherwise)
    if not isinstance(value, int | float):
        raise ValueError(f"{name} is no time")
    return value


def _part(content: Mapping[str, object]) -> bytes:
    return _armour(json.dumps(content, separators=(",", ":")).encode())


def _read(part: bytes) -> Mapping[str, Any]:
    """ValueError."""
    try:
        content = json.loads(_bare(part))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def _armour(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _bare(part: bytes) -> bytes:
    """ValueError."""
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
