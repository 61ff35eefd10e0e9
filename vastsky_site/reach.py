"""What `manage.py check --deploy` tries of the way to nodes, and of the names people come by."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, InterfaceError

from inventory.command_line import manage
from inventory.models import ALIVE, Address

SECONDS = 2.0
AT_ONCE = 64
UNIT = {"head": "vastsky-head", "storage": "vastsky-storage"}

Findings = Iterator[checks.CheckMessage]


@dataclass(frozen=True, slots=True)
class AgentDoor:
    """Where an agent listens, and whose it is."""

    kind: str
    server: str
    address: str
    port: int


@checks.register("deployment", deploy=True)
def check_reach(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """Try every address of every node, and compare the certificate with the manager's names."""
    return [*_nodes(), *_names()]


def _nodes() -> Findings:
    try:
        doors = _doors()
    except (DatabaseError, InterfaceError):
        return  # vastsky.E010 or E011 says so
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(_why_closed, doors))
    for door, why in zip(doors, answers, strict=True):
        if why:
            yield checks.Warning(
                f"{door.server} cannot be reached at {door.address}:{door.port}: {why}.",
                hint=f"On that node: `systemctl status {UNIT[door.kind]}`, `vastsky-node check`."
                f" Between here and there: let TCP port {door.port} through, in both networks.",
                id="vastsky.W021",
            )


def _doors() -> list[AgentDoor]:
    """Read where agents of servers that are in service listen; one query."""
    rows = Address.objects.select_related("head", "storage").order_by("storage", "head", "position")
    doors = []
    for row in rows:
        server = row.head or row.storage
        if server is None or server.priority not in ALIVE:
            continue
        kind = "head" if row.head else "storage"
        port = getattr(settings, f"VASTSKY_{kind.upper()}_AGENT_PORT")
        doors.append(AgentDoor(kind, server.name or str(server), row.address, port))
    return doors


def _why_closed(door: AgentDoor) -> str:
    """Connect, and hang up; nothing if that works."""
    try:
        socket.create_connection((door.address, door.port), timeout=SECONDS).close()
    except TimeoutError:
        return f"no answer within {SECONDS:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    return ""


# -- names ----------------------------------------------------------------------------------------


def _names() -> Findings:
    """Everything by which the manager is called has to be in the certificate that it shows."""
    if settings.VASTSKY_IDENTITY is None or not settings.VASTSKY_WEB_TLS:
        return
    path = settings.VASTSKY_IDENTITY.certificate
    try:
        named = _alternatives(x509.load_pem_x509_certificate(path.read_bytes()))
    except (OSError, ValueError, x509.ExtensionNotFound):
        return  # vastsky.E008 says so
    if missing := sorted(_called_by() - named):
        yield checks.Warning(
            f"{path} does not name {', '.join(missing)}: who comes by that is warned off.",
            hint="Move it and its key away, then issue another one with all names and addresses of"
            f" VASTSKY_ALLOWED_HOSTS and VASTSKY_MANAGER_URLS:"
            f" `{manage('certificate manager NAME... --manager')}`.",
            id="vastsky.W022",
        )
    if not settings.VASTSKY_MANAGER_URLS:
        yield checks.Warning(
            "VASTSKY_MANAGER_URLS is not set: nodes that join are not told where the manager is.",
            hint="Set it, one URL in each network: https://10.1.0.1:8881,https://10.2.0.1:8881.",
            id="vastsky.W023",
        )


def _called_by() -> set[str]:
    """Tell the names and addresses of the settings; one for a whole domain cannot be compared.

    Of the managers' URLs those that lead to this machine: the others are other managers'.
    """
    hosts = {host.strip("[]") for host in settings.ALLOWED_HOSTS if host[0] not in "*."}
    urls = {urlsplit(url).hostname or "" for url in settings.VASTSKY_MANAGER_URLS}
    return hosts | {host for host in urls - hosts if _is_here(host)}


def _is_here(host: str) -> bool:
    """Tell whether a name or an address is this machine's."""
    try:
        for family, kind, _, _, place in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.bind(place)
    except OSError:
        return False
    return True


def _alternatives(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *map(str, addresses)}
