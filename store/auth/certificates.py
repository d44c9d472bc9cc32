"""A client certificate as a user: its common name is the user's, as with etcd's --client-cert-auth.

Only a certificate that TLS has verified counts, the first of its chain; several common names in it: the last, as Go
reads them. One without is a user without name, who may do nothing.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID

from .errors import InvalidToken


def common_name(certificate: bytes) -> str:
    """Of a PEM or DER certificate; "" when it has none. InvalidToken when it is no certificate."""
    load = x509.load_pem_x509_certificate if b"-----BEGIN" in certificate else x509.load_der_x509_certificate
    try:
        names = load(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError as error:
        raise InvalidToken(f"the client's certificate cannot be read: {error}; have it issued anew") from error
    value = names[-1].value if names else ""
    return value if isinstance(value, str) else value.decode(errors="replace")
