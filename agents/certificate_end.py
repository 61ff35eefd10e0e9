"""When a certificate ends, read out of it: the standard library tells that of authorities only."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

EXPLICIT_VERSION, SHORT_YEAR = 0xA0, 0x17
VALIDITY, NOT_AFTER = 3, 1
"""Places: of a certificate's validity behind its serial number, and of the end in it (RFC 5280)."""
END_OF_PEM = "-----END CERTIFICATE-----"


def end_of(path: Path) -> datetime:
    """Tell when the first certificate of a file ends; ValueError or OSError if it has none."""
    first = path.read_text().partition(END_OF_PEM)[0] + END_OF_PEM
    der = ssl.PEM_cert_to_DER_cert(first[max(first.find("-----BEGIN"), 0) :])
    try:
        ((_, certificate),) = _parts(der)
        _, signed = next(_parts(certificate))
        members = [part for part in _parts(signed) if part[0] != EXPLICIT_VERSION]
        tag, text = list(_parts(members[VALIDITY][1]))[NOT_AFTER]
    except (IndexError, StopIteration):
        raise ValueError(f"{path} holds no certificate") from None
    form = "%y%m%d%H%M%SZ" if tag == SHORT_YEAR else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode(), form).replace(tzinfo=UTC)


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut what is in a sequence into its members: tag and content."""
    place = 0
    while place < len(der):
        tag, length = der[place], der[place + 1]
        place += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[place : place + octets])
            place += octets
        yield tag, der[place : place + length]
        place += length
