"""Certificates read from where they are, and looked at before they are used: gRPC would say nothing of a wrong one."""

import ssl
import tempfile
from pathlib import Path

from ....errors import Invalid
from ..tls import Tls


def pem(given: Path | bytes | None) -> bytes | None:
    """What a file has, or what was given. Invalid."""
    if not isinstance(given, Path):
        return given
    try:
        return given.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read the certificate or key {given}: {error.strerror}") from None


def context(tls: Tls) -> ssl.SSLContext:
    """A client's context. Invalid when something is no certificate, or the key is not its own."""
    if (tls.cert is None) is not (tls.key is None):
        raise Invalid("a client's certificate needs its key and a key its certificate; give both")
    ca = pem(tls.ca)
    try:
        made = ssl.create_default_context(cadata=ca.decode() if ca is not None else None)
    except (ssl.SSLError, UnicodeDecodeError):
        raise Invalid(f"the CA of etcd{_where(tls.ca)} is no certificate in PEM") from None
    cert, key = pem(tls.cert), pem(tls.key)
    if cert is not None and key is not None:
        _load(made, cert, key, _where(tls.cert))
    return made


def _load(made: ssl.SSLContext, cert: bytes, key: bytes, where: str) -> None:
    with tempfile.NamedTemporaryFile(prefix="hw-tls-") as file:  # the ssl module takes them from files only
        file.write(cert + b"\n" + key)
        file.flush()
        try:
            made.load_cert_chain(file.name)
        except ssl.SSLError as error:
            mismatch = error.reason == "KEY_VALUES_MISMATCH"
            why = "the key is not the certificate's" if mismatch else "they are no certificate and key in PEM"
            raise Invalid(f"the client's certificate and key{where} cannot be used: {why}") from None


def _where(given: Path | bytes | None) -> str:
    return f" in {given}" if isinstance(given, Path) else ""
