"""What a node says at the manager's door for nodes: /join, in JSON over TLS."""

import base64
import errno
import hashlib
import http.client
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from agents.errors import AgentError
from agents.identity import explain

VERSION = 1
SECONDS = 10.0
MOST = 256 * 1024
PORT = 443
ROLES = ("head", "storage")

T = TypeVar("T")


class Refusal(AgentError):
    """The manager understood, and declined."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EACCES, message)


class NoAnswer(AgentError):
    """No manager answered, or not sensibly; worth another try."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EHOSTDOWN, message)


@dataclass(frozen=True, slots=True)
class Told:
    """What a manager tells everybody, once it has proved that its authority is the right one."""

    authority: str
    cluster: str
    time: float
    ports: Mapping[str, int] = field(default_factory=dict)
    """Where it calls agents, by their role; managers before 5.1 do not say so here."""


def learn(url: str, expected: bytes) -> Told:
    """Ask for the authority, and trust it for its fingerprint alone."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE  # nothing secret is sent, and the answer is proved below
    answer = _ask(url, "GET", "/join", stranger)
    try:
        authority = str(answer["authority"])
        found = fingerprint(authority)
    except (KeyError, ValueError):
        raise NoAnswer(f"{url} is no manager that nodes can join") from None
    if found != expected:
        raise Refusal(f"{url} is not the manager that made this join string: it has another key")
    # The rest of what it told is of whoever answered; the authority's own manager says it again.
    return _told(url, authority, _ask(url, "GET", "/join", trusting_only(authority)))


def _told(url: str, authority: str, answer: Mapping[str, Any]) -> Told:
    try:
        ports = {role: int(answer[f"{role}_port"]) for role in ROLES if f"{role}_port" in answer}
        return Told(authority, str(answer["cluster"]), float(answer["time"]), ports)
    except (KeyError, TypeError, ValueError):
        raise NoAnswer(f"{url} is no manager that nodes can join") from None


def fingerprint(pem: str) -> bytes:
    """Tell an authority's fingerprint; ValueError for what is no certificate."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()


def in_turn(urls: Sequence[str], ask: Callable[[str], T]) -> T:
    """Ask the managers until one answers; NoAnswer with all their reasons."""
    reasons: list[str] = []
    for url in urls:
        try:
            return ask(url)
        except NoAnswer as error:
            reasons.append(str(error))
    raise NoAnswer("; ".join(reasons))


def post(
    url: str,
    path: str,
    authority: str,
    content: Mapping[str, Any],
    token: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """Tell a manager that this authority vouches for; its answer, Refusal or NoAnswer."""
    body = json.dumps({"version": VERSION, **content}).encode()
    headers = {"Content-Type": "application/json"}
    if token[0]:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(token).encode()).decode()
    return _ask(url, "POST", path, trusting_only(authority), body=body, headers=headers)


def text(answer: Mapping[str, Any], name: str) -> str:
    """Take a text out of an answer; NoAnswer if it is not there."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise NoAnswer(f"the manager's answer has no {name}")
    return value


def trusting_only(authority: str) -> ssl.SSLContext:
    """Trust the cluster's authority; not those of the machine, who vouch for anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    return context


def _ask(
    url: str,
    method: str,
    path: str,
    context: ssl.SSLContext,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or PORT, timeout=SECONDS, context=context
    )
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        answer = json.loads(response.read(MOST))
    except ssl.SSLError as error:
        raise NoAnswer(f"{url}: {explain(error)}") from None
    except OSError as error:
        raise NoAnswer(f"{url}: {error.strerror or error}") from None
    except (http.client.HTTPException, ValueError):
        raise NoAnswer(f"{url} is no manager that nodes can join") from None
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise NoAnswer(f"{url} is no manager that nodes can join")
    if response.status != http.client.OK:
        said = answer.get("error", f"HTTP {response.status}")
        raise Refusal(str(said)) if response.status in (403, 409) else NoAnswer(f"{url}: {said}")
    return answer
