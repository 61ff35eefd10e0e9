"""The disks of a storage server, by the name in their labels."""

import errno
import logging
import os
from collections.abc import Iterable, Iterator

from agents.errors import AgentError
from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.labelled_disk import OpenDisk, UnusableDisk
from agents.node.storage.recognition import open_disk
from agents.protocol import ExtentRef

logger = logging.getLogger(__name__)


class Disks:
    """All disks of this server, by the name in their labels."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._disks: dict[str, OpenDisk] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[OpenDisk]:
        return iter(list(self._disks.values()))

    def open_all(self, configs: Iterable[DiskConfig], cluster: str) -> None:
        """Open each disk that is not open; one that is refused is logged and left alone."""
        known = {disk.config.path for disk in self if not disk.error}
        for config in configs:
            if config.path not in known:
                self._open(config, cluster)

    def usable(self, name: str) -> OpenDisk:
        """Find a disk and verify that it is the one; else UnusableDisk."""
        disk = self._disks.get(name)
        if disk is None:
            raise UnusableDisk(f"no disk {name} here")
        if disk.error:
            raise UnusableDisk(disk.error, errno.EIO)
        disk.verify()
        return disk

    def locate(self, extent: ExtentRef) -> OpenDisk:
        """Find an extent's disk; UnusableDisk also if the extent is not within its usable space."""
        disk = self.usable(extent.disk)
        end = extent.offset_gb + extent.size_gb
        if extent.offset_gb < 0 or extent.size_gb < 1 or end >= disk.label.capacity_gb:
            place = f"{extent.offset_gb}+{extent.size_gb} GB"
            raise UnusableDisk(
                f"extent {extent.dextid} at {place} is outside of {disk.config.path}"
            )
        return disk

    def _open(self, config: DiskConfig, cluster: str) -> None:
        try:
            disk = open_disk(config, cluster, self._store)
        except (OSError, AgentError) as error:
            reason = f"{config.path}: {error}"
            if self._refused.get(config.path) != reason:
                logger.warning("disk refused: %s", reason)
            self._refused[config.path] = reason
            return
        self._refused.pop(config.path, None)
        before = self._disks.get(disk.uuid)
        if before is not None:
            disk = self._take_back(before, disk)
        self._disks[disk.uuid] = disk
        logger.info("disk %s is %s, %d GB", config.path, disk.uuid, disk.label.capacity_gb)

    def _take_back(self, before: OpenDisk, disk: OpenDisk) -> OpenDisk:
        if not before.error:
            os.close(disk.fd)
            logger.error("disk refused: %s: same label as %s", disk.config.path, before.config.path)
            return before
        # The old descriptor stays open: an order that runs may still use it.
        return disk

    def close(self) -> None:
        """Close every disk."""
        for disk in self._disks.values():
            os.close(disk.fd)
        self._disks.clear()
