"""The head of an HTTP/1 request, read strictly: what has two readings is refused."""

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
TARGET = re.compile(rb"[!-~]+")
LENGTH = re.compile(rb"[0-9]{1,18}")
VERSIONS = {b"HTTP/1.1": "HTTP/1.1", b"HTTP/1.0": "HTTP/1.0"}
MOST_HEADERS = 100
REMEMBERED_BYTES = 1024
"""Programs send the same head with each call; reading it takes a tenth of a short call."""
ONCE = frozenset(("content-length", "transfer-encoding", "host", "authorization", "content-type"))


class BadRequest(Exception):
    """The request is not answered; with the status that says so."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head: names of headers in small letters, `length` bytes of body to come."""

    method: str
    target: str
    version: str
    headers: dict[str, str]
    length: int
    peer: str
    server: tuple[str, int]
    secure: bool

    @property
    def goes_on(self) -> bool:
        """Tell whether the connection may carry another request."""
        return (
            self.version == "HTTP/1.1" and "close" not in self.headers.get("connection", "").lower()
        )

    @property
    def asks_first(self) -> bool:
        """Tell whether the body is only sent to who says that it is wanted."""
        return (
            self.version == "HTTP/1.1" and self.headers.get("expect", "").lower() == "100-continue"
        )


def parse(head: bytes, peer: str, server: tuple[str, int], *, secure: bool) -> Request:
    """Read all up to the empty line; BadRequest if it is not plain."""
    read = _read_again if len(head) <= REMEMBERED_BYTES else _read
    return read(head, peer, server, secure)


def _read(head: bytes, peer: str, server: tuple[str, int], secure: bool) -> Request:  # noqa: FBT001
    first, *lines = head.split(b"\r\n")
    method, _, rest = first.partition(b" ")
    target, _, protocol = rest.partition(b" ")
    if not TOKEN.fullmatch(method) or not TARGET.fullmatch(target):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    version = VERSIONS.get(protocol)
    if version is None:
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers = _headers(lines)
    length = _length(headers)
    return Request(method.decode(), target.decode(), version, headers, length, peer, server, secure)


_read_again = lru_cache(256)(_read)


def _headers(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > MOST_HEADERS:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    headers: dict[str, str] = {}
    for line in lines:
        raw, colon, rest = line.partition(b":")
        if not colon or not TOKEN.fullmatch(raw) or b"\n" in rest or b"\r" in rest or b"\0" in rest:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        name, value = raw.decode().lower(), rest.strip(b" \t").decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name in ONCE:
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        else:
            headers[name] += ("; " if name == "cookie" else ", ") + value
    return headers


def _length(headers: dict[str, str]) -> int:
    """Read how long the body is. Chunks are not taken: nobody who calls us needs them."""
    text = headers.get("content-length")
    if "transfer-encoding" in headers:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED if text is None else HTTPStatus.BAD_REQUEST)
    if text is None:
        return 0
    if not LENGTH.fullmatch(text.encode("latin-1")):
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED)
    return int(text)
