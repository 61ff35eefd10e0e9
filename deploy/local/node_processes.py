"""The servers of the local cluster: their agents' settings, power on, power off."""

import sys
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from agents.engines.devices import nbd_module
from deploy.local.place import DISKS, LocalNode, Place

HEAD_LIMITS = {"rebuild_mib_per_s"}
STORAGE_LIMITS = {"shred_mib_per_s", "patrol_mib_per_s", "scrub_mib_per_s"}


def command(place: Place, node: LocalNode, limits: Mapping[str, int]) -> list[str]:
    """Write the agent's settings, with these limits of its speed, and its command line."""
    folder = place.folder(node)
    for private in (folder.parent, folder):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.chmod(0o700)
    settings = folder / "agent.toml"
    settings.touch(mode=0o600)
    settings.chmod(0o600)
    settings.write_text(tomli_w.dumps(_settings(place, node) | _of_role(node, limits)))
    return [sys.executable, "-m", "agents", node.role, "--config", str(settings)]


def disks(place: Place, node: LocalNode) -> list[Path]:
    """Name the files that are a storage server's disks."""
    return [place.folder(node) / f"disk-{number}.img" for number in range(1, DISKS + 1)]


def _settings(place: Place, node: LocalNode) -> dict[str, object]:
    run = place.run / node.name
    run.mkdir(mode=0o700, exist_ok=True)
    common: dict[str, object] = {
        "manager": place.rpc_url,
        "addresses": list(node.addresses),
        "port": node.port,
        "state_dir": str(place.folder(node) / "state"),
        "run_dir": str(run),
    }
    if place.other_managers:
        common["other_managers"] = list(place.other_managers)
    if node.role == "head":
        # The story reads volumes by their sockets. Where nothing else can be made it is not asked
        # for: agents of before know no such key.
        sockets = {} if nbd_module.why_unusable() else {"device": "socket"}
        return common | {"links_dir": str(place.links_of(node.name))} | sockets
    files = [{"path": str(path), "create_gb": place.disk_gb} for path in disks(place, node)]
    return common | {"data_port": place.data_port, "disks": files}


def _of_role(node: LocalNode, limits: Mapping[str, int]) -> dict[str, object]:
    theirs = HEAD_LIMITS if node.role == "head" else STORAGE_LIMITS
    return {name: value for name, value in limits.items() if name in theirs}
