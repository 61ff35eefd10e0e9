"""Where a head of the kernel engine has what."""

from dataclasses import dataclass
from pathlib import Path

from agents.engines.base import DeviceAccess

FOLDER = "kernel"


@dataclass(frozen=True, slots=True)
class HeadPlace:
    """A head's folders, its servers' port, and who may open its volumes."""

    state_dir: str
    links_dir: str
    iscsi_port: int
    access: DeviceAccess

    @property
    def folder(self) -> Path:
        """Where groups have their states: a folder each, while they are attached."""
        return Path(self.state_dir) / FOLDER

    def of(self, lvolid: int) -> Path:
        """Name the folder in which a group's state is."""
        return self.folder / f"{lvolid:08x}"

    @property
    def links(self) -> Path:
        """Where users find their volumes by name."""
        return Path(self.links_dir)
