"""The join string: all that a machine needs to find a cluster, to trust it, and to be let in once.

`vastsky1.` and, in URL-safe base64: the SHA-256 of the authority's certificate, 18 bytes of secret,
the manager's URLs with spaces between, and the CRC-32 of all that, which finds a string that was
not copied whole. Another form has another number.
"""

import base64
import secrets
import struct
import zlib
from dataclasses import dataclass, field

PREFIX = "vastsky1."
FINGERPRINT_BYTES, SECRET_BYTES, SUM_BYTES = 32, 18, 4


class Garbled(ValueError):
    """A text is no join string, or not a whole one."""


@dataclass(frozen=True, slots=True)
class JoinString:
    """What a join string says."""

    urls: tuple[str, ...]
    fingerprint: bytes
    secret: bytes = field(repr=False)

    def __str__(self) -> str:
        content = self.fingerprint + self.secret + " ".join(self.urls).encode()
        packed = base64.urlsafe_b64encode(content + struct.pack(">I", zlib.crc32(content)))
        return PREFIX + packed.decode().rstrip("=")


def new_secret() -> bytes:
    """Make a secret that nobody guesses."""
    return secrets.token_bytes(SECRET_BYTES)


def parse(text: str) -> JoinString:
    """Read a join string; Garbled if it is none, or not whole."""
    text = text.strip()
    if not text.startswith(PREFIX):
        raise Garbled(f"a join string begins with {PREFIX}")
    packed = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True)
        content, checksum = raw[:-SUM_BYTES], raw[-SUM_BYTES:]
        whole = struct.pack(">I", zlib.crc32(content)) == checksum
        urls = tuple(content[FINGERPRINT_BYTES + SECRET_BYTES :].decode("ascii").split())
    except ValueError:
        raise Garbled("the join string is not whole: copy all of it") from None
    if not whole or not urls:
        raise Garbled("the join string is not whole: copy all of it")
    secret = content[FINGERPRINT_BYTES:][:SECRET_BYTES]
    return JoinString(urls, content[:FINGERPRINT_BYTES], secret)
