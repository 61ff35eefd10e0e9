"""A machine joins a cluster: it looks, sends its secret once it is sure, then writes files."""

import socket
from collections.abc import Collection, Iterator, Sequence
from urllib.parse import urlsplit

from agents.join_string import JoinString
from agents.membership import manager_door, node_checks, node_key
from agents.membership.manager_door import Told, in_turn
from agents.membership.node_checks import Finding
from agents.membership.node_files import HEAD, PUBLIC, STORAGE, NodeFiles, Wanted, settings_text
from agents.node.config import DATA_PORT, HEAD_PORT, STORAGE_PORT, EngineKind

PORTS = {HEAD: HEAD_PORT, STORAGE: STORAGE_PORT}


def find_addresses(urls: Sequence[str]) -> tuple[str, ...]:
    """Tell from which addresses this machine speaks to the managers: two at most."""
    found: dict[str, None] = {}
    for url in urls:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((urlsplit(url).hostname or "", 9))  # nothing is sent
            found[probe.getsockname()[0]] = None
    return tuple(found)[:2]


def learn(string: JoinString) -> Told:
    """Ask the managers in turn who they are."""
    return in_turn(string.urls, lambda url: manager_door.learn(url, string.fingerprint))


def ports(told: Told, roles: Collection[str]) -> list[int]:
    """Tell which ports agents of these roles will have here, by the manager's settings."""
    of_agents = [told.ports.get(role, PORTS[role]) for role in roles]
    return [*of_agents, DATA_PORT] if STORAGE in roles else of_agents


def forbids(told: Told, wanted: Wanted, ports: Sequence[int]) -> list[Finding]:
    """Find what has to be mended before this machine joins."""
    return [
        *node_checks.check_clock(told.time),
        *node_checks.check_own_addresses(wanted.addresses),
        *node_checks.check_ports(wanted.addresses, ports),
        *node_checks.check_disks(wanted.disks, told.cluster),
        *_check_engine(wanted),
    ]


def _check_engine(wanted: Wanted) -> Iterator[Finding]:
    for role in wanted.roles if wanted.engine is EngineKind.KERNEL else ():
        yield from node_checks.check_kernel_engine(role, wanted.disks if role == STORAGE else ())


def advises(string: JoinString, wanted: Wanted) -> list[Finding]:
    """Find what should be mended, though the node can join as it is."""
    uses_nbd = HEAD in wanted.roles and wanted.engine is EngineKind.USERSPACE
    return [
        *node_checks.check_networks(wanted.addresses),
        *node_checks.check_managers(string.urls),
        *(node_checks.check_nbd() if uses_nbd else ()),
    ]


def join(string: JoinString, told: Told, wanted: Wanted, files: NodeFiles) -> str:
    """Join; the node's name. It may be done again with the same string: the key stays the same."""
    files.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    node_key.make_key(files.key)
    content = {
        "secret": string.secret.hex(),
        "request": node_key.request(files.key),
        "roles": ",".join(sorted(wanted.roles)),
        "addresses": list(wanted.addresses),
    }
    answer = in_turn(
        string.urls, lambda url: manager_door.post(url, "/join", told.authority, content)
    )
    name, certificate, token = (
        manager_door.text(answer, what) for what in ("name", "certificate", "token")
    )
    files.write(files.authority, told.authority, PUBLIC)
    files.write(files.certificate, certificate, PUBLIC)
    files.write(files.token, f"{token}\n")
    for role in wanted.roles:
        text = settings_text(files, role, wanted, string.urls, answer)
        files.write(files.settings(role), text)
    return name
