"""Who is who between the manager and its nodes: TLS with an authority of the cluster's own.

Nobody but the manager may give orders. Its certificate alone allows to be a client, and a node's
only to be a server, so that a node which was broken into commands no other.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """Three PEM files: what we show, the key to it, and whose word we take for the others.

    They are read anew for each connection, so that they can be replaced while we run; OSError if
    that fails.
    """

    certificate: Path
    key: Path
    authority: Path

    def calling(self) -> ssl.SSLContext:
        """Call as this one; the peer has to show a certificate for the address that is called."""
        context = _strict(ssl.create_default_context(cafile=self.authority))
        context.load_cert_chain(self.certificate, self.key)
        return context

    def answering(self) -> ssl.SSLContext:
        """Answer as this one, and only whoever shows a certificate that allows to call."""
        context = _strict(
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        )
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate, self.key)
        return context


def trusting(authority: Path | None) -> ssl.SSLContext:
    """Call without showing anything; the peer is known to this authority or to the machine's."""
    context = _strict(ssl.create_default_context())
    if authority is not None:
        context.load_verify_locations(authority)
    return context


def explain(error: ssl.SSLError) -> str:
    """Say in a few words what was wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    return str(error.reason or error).replace("_", " ").lower()


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
