"""What a storage server exports through the kernel, in one file: it outlives the agent.

The kernel forgets its exports when the machine ends, and then the file counts no more.
"""

import errno
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.boot import boot_id
from agents.engines.base import EngineError, Lease
from agents.errors import newer_file
from agents.struct_codec import Malformed, from_struct, to_struct

VERSION = 1


@dataclass(frozen=True, slots=True)
class ServedLeases:
    """The leases that the kernel serves. `instance`: new with each start of the machine."""

    boot_id: str
    instance: str
    leases: tuple[Lease, ...] = ()
    version: int = field(default=VERSION)


class ExportFile:
    """The file; changed by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Read it. EngineError where a newer agent wrote it since the machine started."""
        self._path = path
        self._now = self._load()

    def begin(self) -> None:
        """Write down which life of the exports this is, so that the next agent goes on with it."""
        self._save(self._now)

    @property
    def instance(self) -> str:
        """Which life of the exports this is."""
        return self._now.instance

    @property
    def leases(self) -> tuple[Lease, ...]:
        """What is served, or was about to be when the agent ended."""
        return self._now.leases

    def add(self, leases: Iterable[Lease]) -> None:
        """Note these too, before they are served."""
        have = {lease.name for lease in self.leases}
        new = (lease for lease in leases if lease.name not in have)
        self._save(replace(self._now, leases=(*self.leases, *new)))

    def remove(self, names: Iterable[str]) -> None:
        """Forget these, once they are served no more."""
        gone = set(names)
        left = tuple(lease for lease in self.leases if lease.name not in gone)
        self._save(replace(self._now, leases=left))

    def _load(self) -> ServedLeases:
        new = ServedLeases(boot_id(), uuid.uuid4().hex)
        try:
            struct = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return new
        if not isinstance(struct, dict) or struct.get("boot_id") != new.boot_id:
            return new
        self._refuse_newer(struct.get("version"))
        try:
            return from_struct(ServedLeases, struct)
        except Malformed:
            return new

    def _refuse_newer(self, version: object) -> None:
        if isinstance(version, int) and version > VERSION:
            raise EngineError(errno.EPROTONOSUPPORT, newer_file(self._path, version, VERSION))

    def _save(self, exported: ServedLeases) -> None:
        """Replace the file; a power cut may lose it, and takes the exports away, too."""
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(to_struct(exported)))
        new.chmod(0o600)  # names of exports are secrets
        new.replace(self._path)
        self._now = exported
