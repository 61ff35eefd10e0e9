"""The disks of a storage server, by the name in their labels."""

import errno
import logging
import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from agents.errors import AgentError
from agents.node.config import DiskConfig
from agents.node.state_store import StateStore
from agents.node.storage.label_search import LabelSearch
from agents.node.storage.labelled_disk import OpenDisk, UnusableDisk
from agents.node.storage.recognition import open_disk, remembered
from agents.protocol import ExtentRef, RefusedDisk
from agents.xmlrpc import printable

logger = logging.getLogger(__name__)


SOON = 1.0
"""Seconds that searches for labels are waited for; those of large disks end later."""


class Disks:
    """All disks of this server, by the name in their labels."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._search = LabelSearch()
        self._disks: dict[str, OpenDisk] = {}
        self._refused: dict[str, RefusedDisk] = {}

    def __iter__(self) -> Iterator[OpenDisk]:
        return iter(list(self._disks.values()))

    @property
    def refused(self) -> tuple[RefusedDisk, ...]:
        """Tell the disks that are not used, and why: by our own word, or by the manager's."""
        told = (RefusedDisk(d.config.path, d.refusal, d.uuid) for d in self if d.refusal)
        return (*list(self._refused.values()), *told)

    def open_all(self, configs: Iterable[DiskConfig], cluster: str) -> list[OpenDisk]:
        """Open each disk that is not open; one that is refused is told and left alone.

        Of two that bear one label, the original goes first, or else the one that was used last.
        """
        until = time.monotonic() + SOON
        wanted = {config.path: config for config in configs}
        for path in self._refused.keys() - wanted.keys():
            del self._refused[path]
        known = {disk.config.path for disk in self if not disk.error}
        chosen = [config for config in wanted.values() if config.path not in known]
        chosen.sort(key=self._is_new_there)
        found = [disk for config in chosen if (disk := self._open(config, cluster, until))]
        originals_first = sorted(found, key=lambda disk: disk.is_copy)
        return [disk for disk in originals_first if self._take_in(disk)]

    def usable(self, name: str) -> OpenDisk:
        """Find a disk and verify that it is the one; else UnusableDisk."""
        disk = self._disks.get(name)
        if disk is None:
            raise UnusableDisk(f"no disk {name} here")
        if disk.error:
            raise UnusableDisk(disk.error, errno.EIO)
        if disk.refusal:
            raise UnusableDisk(disk.refusal, errno.EBUSY)
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

    def _open(self, config: DiskConfig, cluster: str, until: float) -> OpenDisk | None:
        search = partial(self._search.traces, until=until)
        try:
            return open_disk(config, cluster, self._store, search)
        except UnusableDisk as error:
            self._refuse(config.path, str(error), error.disk)
        except (OSError, AgentError) as error:
            self._refuse(config.path, getattr(error, "strerror", "") or str(error))
        return None

    def _take_in(self, disk: OpenDisk) -> bool:
        path, before = disk.config.path, self._disks.get(disk.uuid)
        if before is not None and _is_second(disk, before):
            os.close(disk.fd)
            self._refuse(path, _second(disk, before), disk.uuid)
            return False
        self._refused.pop(path, None)
        # The old descriptor stays open: an order that runs may still use it.
        self._disks[disk.uuid] = disk
        self._store.learn(_place(disk.uuid), path)
        logger.info("disk %s is %s, %d GB", path, disk.uuid, disk.label.capacity_gb)
        return True

    def _refuse(self, path: str, reason: str, name: str = "") -> None:
        if not Path(path).exists() and any(disk.config.path == path for disk in self):
            return  # told as a disk that is gone
        refused = RefusedDisk(path, printable(reason), name)
        if self._refused.get(path) != refused:
            logger.warning("disk refused: %s: %s", path, reason)
        self._refused[path] = refused

    def _is_new_there(self, config: DiskConfig) -> bool:
        name = remembered(self._store, config.path).partition(" ")[0]
        return not name or self._store.fact(_place(name)) != config.path

    def close(self) -> None:
        """Close every disk."""
        for disk in self._disks.values():
            os.close(disk.fd)
        self._disks.clear()


def _is_second(disk: OpenDisk, before: OpenDisk) -> bool:
    """Tell whether two disks bear one label, rather than one that was at another path before."""
    return disk.config.path != before.config.path and (not before.error or before.is_there)


def _second(disk: OpenDisk, before: OpenDisk) -> str:
    state = "is there, but does not work" if before.error else "is in use"
    return (
        f"it bears the label of disk {disk.uuid}, as {before.config.path} does, which {state}:"
        " one of them is a copy; take one away"
    )


def _place(name: str) -> str:
    """Name the fact that tells at which path a disk was used last."""
    return f"place of {name}"
