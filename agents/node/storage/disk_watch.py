"""Watch whether the disks of a storage server are there, and look for those that are not."""

import logging
import time
from collections.abc import Callable, Iterable

from agents.errors import AgentError
from agents.node.storage.labelled_disk import OpenDisk

logger = logging.getLogger(__name__)

SEARCH_SECONDS = 10.0


class DiskWatch:
    """Looks every second whether each disk is there, and now and then for those that are not."""

    def __init__(
        self,
        disks: Iterable[OpenDisk],
        vanished: Callable[[OpenDisk], None],
        reopen: Callable[[], None],
    ) -> None:
        self._disks = disks
        self._vanished = vanished
        self._reopen = reopen
        self._searched = time.monotonic()

    def look(self) -> None:
        """Look once; a disk that fails is told once and opened anew when it can be.

        Disks of the configuration that could not be opened at all are tried again, too.
        """
        for disk in self._disks:
            if disk.error:
                continue
            try:
                disk.verify()
            except AgentError as error:
                logger.error("disk %s failed: %s", disk.uuid, error)  # noqa: TRY400 - no defect
                disk.fail(str(error))
                self._vanished(disk)
        now = time.monotonic()
        if any(disk.error for disk in self._disks) or now > self._searched + SEARCH_SECONDS:
            self._searched = now
            self._reopen()
