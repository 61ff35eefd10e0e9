"""The manager's own certificates: when each ends, and how it is replaced."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from django.conf import settings

from inventory.command_line import manage

ENDS_SOON = timedelta(days=30)
MANAGER, AUTHORITY = "manager", "authority"
MEND = {
    MANAGER: "move it and its key away, then"
    f" `{manage('certificate manager NAME... --manager')}` with every name and address by which"
    " the manager is called: it is read anew for each connection",
    AUTHORITY: "make a new authority and a new certificate of the manager, and have every node"
    " join anew (docs/operate.md#vastskycertificateends)",
}


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """One of the manager's certificates."""

    name: str
    path: Path
    end: datetime

    @property
    def left(self) -> timedelta:
        """Tell for how long it is valid yet."""
        return self.end - datetime.now(UTC)


def read() -> Iterator[OwnCertificate]:
    """Read the files anew: they may be replaced while we run. What cannot be read is left out."""
    identity = settings.VASTSKY_IDENTITY
    files = {MANAGER: identity.certificate, AUTHORITY: identity.authority} if identity else {}
    for name, path in files.items():
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            continue  # vastsky.E008 says so
        yield OwnCertificate(name, path, min(one.not_valid_after_utc for one in found))


def ending() -> list[OwnCertificate]:
    """List those that have to be replaced now."""
    return [one for one in read() if one.left < ENDS_SOON]


def how_to_mend(one: OwnCertificate, all_ending: Iterable[OwnCertificate]) -> str:
    """Say how one is replaced: nothing new outlives an authority that ends as well."""
    authority_ends = any(other.name == AUTHORITY for other in all_ending)
    return MEND[AUTHORITY if authority_ends else one.name]
