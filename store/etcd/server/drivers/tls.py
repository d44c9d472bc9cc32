"""Who a server is, and whom it lets in, by certificates."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from ....errors import Unavailable


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; with `authority`, clients must show a certificate that it signed. `context` reads them."""

    certificate: Path
    key: Path
    authority: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Unavailable when a file cannot be used."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION  # RFC 9113, section 9.2.1
        try:
            self.load(context)
            if self.authority is not None:
                context.load_verify_locations(self.authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"cannot use the certificate {self.certificate}: {error}; check the files") from error
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def load(self, context: ssl.SSLContext) -> None:
        """The certificate as it is in the files now, for connections to come."""
        context.load_cert_chain(self.certificate, self.key)
