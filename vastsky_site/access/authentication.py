"""Who is calling the API: told from the headers alone, before a byte of the body is read."""

import base64
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host

from inventory.audit import Entrance
from vastsky_site.access import tokens
from vastsky_site.access.lockout import Attempts
from vastsky_site.access.shared_counts import SharedCounts
from vastsky_site.models import ApiToken

logger = logging.getLogger(__name__)

Role = ApiToken.Role
PROXY_HEADERS = ("Forwarded", "Via", "X-Real-IP")
BROWSER_HEADERS = ("Origin", "Sec-Fetch-Site")
UNAUTHORIZED, TOO_MANY = 401, 429

attempts = Attempts(most=20, seconds=60, shared=SharedCounts("tokens"))
"""Wrong tokens of one address. Nobody guesses 256 bits; this bounds what trying costs us."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and for which servers an agent may speak."""

    name: str
    role: Role
    way: Entrance
    token: int = 0
    head: int = 0
    storage: int = 0


LOOPBACK = Caller("trusted address", Role.ADMIN, Entrance.RPC)
NEIGHBOUR = Caller("neighbour", Role.READER, Entrance.RPC)
Networks = Iterable[IPv4Network | IPv6Network]


class Denied(Exception):
    """The caller is not let in; with the HTTP status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def identify(request: HttpRequest, readers: Networks = ()) -> Caller:
    """Tell who calls; Denied if we do not know. A token that is presented has to be right.

    Without one, who is at an address of `readers` is a reader.
    A page in a browser never calls: the browser would send the token for every page it shows.
    """
    if any(name in request.headers for name in BROWSER_HEADERS):
        raise Denied(UNAUTHORIZED, "a page in a browser may not call")
    peer = peer_of(request)
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        return _by_token(authorization, neighbourhood(peer))
    if not _is_proxied(request) and _is_our_host(request):
        if _is_in(peer, settings.VASTSKY_RPC_TRUSTED_NETWORKS):
            return LOOPBACK
        if _is_in(peer, readers):
            return NEIGHBOUR
    raise Denied(UNAUTHORIZED, "a token is needed: http://NAME:TOKEN@HOST:PORT/RPC2")


def _by_token(authorization: str, who: str) -> Caller:
    if wait := attempts.wait(who):
        raise Denied(TOO_MANY, f"too many wrong tokens from this address; wait {wait:.0f} s")
    name, text = _read_basic(authorization)
    row = tokens.find_token(name, text) if text else None
    if row is None:
        attempts.fail(who)
        logger.warning("wrong or revoked token %.64r from %s", name, who or "nowhere")
        raise Denied(UNAUTHORIZED, "the token is wrong, revoked, or has another name")
    tokens.note_use(row)
    role = Role(row.role)
    way = Entrance.NODE if role == Role.AGENT else Entrance.RPC
    return Caller(row.name, role, way, row.pk, row.head or 0, row.storage or 0)


def _read_basic(authorization: str) -> tuple[str, str]:
    """Read a name and a token out of HTTP Basic (RFC 7617); two empty texts if it is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, text = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return name, text


def peer_of(request: HttpRequest) -> IPv4Address | IPv6Address | None:
    """Read the address of whoever is connected to us; None if there is none."""
    try:
        peer = _address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    return (peer.ipv4_mapped if isinstance(peer, IPv6Address) else None) or peer


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address:
    """Read an address; the same few call again and again."""
    return ip_address(text)


def neighbourhood(peer: IPv4Address | IPv6Address | None) -> str:
    """Name what is counted as one caller: of IPv6, everybody has a whole /64 of addresses."""
    if isinstance(peer, IPv6Address):
        return str(IPv6Network((int(peer) >> 64 << 64, 64)))
    return str(peer or "")


def _is_in(peer: IPv4Address | IPv6Address | None, networks: Networks) -> bool:
    return peer is not None and any(peer in network for network in networks)


def _is_our_host(request: HttpRequest) -> bool:
    """Tell whether we were called by an address or a name of ours.

    A page elsewhere can have its own name lead to 127.0.0.1, and then calls as that machine's user.
    """
    host, is_address = _host(request.META.get("HTTP_HOST") or "localhost")
    return is_address or validate_host(host, [*settings.ALLOWED_HOSTS, "localhost"])


@lru_cache(maxsize=4096)
def _host(text: str) -> tuple[str, bool]:
    """Read whom a request is for, and whether that is an address."""
    host, _ = split_domain_port(text)
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return host, False
    return host, True


def _is_proxied(request: HttpRequest) -> bool:
    """Tell whether a proxy speaks here for somebody else."""
    headers = request.headers
    return any(name in headers for name in PROXY_HEADERS) or any(
        name.lower().startswith("x-forwarded-") for name in headers
    )
