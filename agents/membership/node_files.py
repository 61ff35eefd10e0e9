"""The files of a node that joined: key, certificate, authority, token, an agent's settings each."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.node.config import EngineKind

HEAD, STORAGE = "head", "storage"
PRIVATE, PUBLIC = 0o600, 0o644
NOTE = "# Written by `vastsky-node join`; docs/settings.md tells of all its keys.\n"

Value = str | int | list[str]


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """Where a node's files are: settings, state that outlives a boot, sockets that do not."""

    folder: Path
    state: Path
    run: Path

    @property
    def key(self) -> Path:
        return self.folder / "node.key"

    @property
    def certificate(self) -> Path:
        return self.folder / "node.pem"

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def token(self) -> Path:
        return self.folder / "token"

    def settings(self, role: str) -> Path:
        """Name the settings of an agent."""
        return self.folder / f"{role}.toml"

    def write(self, path: Path, text: str, mode: int = PRIVATE) -> None:
        """Write a file whole or not at all; nobody else sees it meanwhile."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(mode)
        draft.replace(path)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a machine is to be in the cluster."""

    roles: tuple[str, ...]
    addresses: tuple[str, ...]
    disks: tuple[str, ...]
    site: str = ""
    rack: str = ""
    engine: EngineKind = EngineKind.USERSPACE


def settings_text(
    files: NodeFiles, role: str, wanted: Wanted, urls: Sequence[str], told: Mapping[str, object]
) -> str:
    """Write an agent's settings as TOML."""
    managers = [f"{url}/RPC2" for url in urls]
    table: dict[str, Value] = {
        "manager": managers[0],
        "other_managers": managers[1:],
        "addresses": list(wanted.addresses),
        "port": int(str(told[f"{role}_port"])),
        "state_dir": str(files.state / role),
        "run_dir": str(files.run / role),
        "site": wanted.site,
        "rack": wanted.rack,
        "engine": "" if wanted.engine is EngineKind.USERSPACE else wanted.engine,
        "token_name": str(told["token_name"]),
        "token_file": str(files.token),
        "tls_certificate": str(files.certificate),
        "tls_key": str(files.key),
        "tls_authority": str(files.authority),
    }
    lines = [f"{key} = {_toml(value)}" for key, value in table.items() if value]
    disks = [f"\n[[disks]]\npath = {_toml(path)}" for path in wanted.disks if role == STORAGE]
    return NOTE + "\n".join([*lines, *disks]) + "\n"


def _toml(value: Value) -> str:
    """Write a value: TOML's texts, numbers and arrays of texts are those of JSON."""
    return json.dumps(value, ensure_ascii=False)
