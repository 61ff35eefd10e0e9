"""The monitor of a storage server: what it hears becomes notifications, told until they are taken.

smartd starts one for each warning; another one follows the kernel's log. Both go by one memory.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.boot import boot_id
from agents.monitor import judgement, kernel_log, our_disks
from agents.monitor.kernel_log import Record
from agents.monitor.our_disks import OurDisk
from agents.monitor.remembered import DISK, MonitorMemory, Untold, change, read
from agents.monitor.smart_warning import Meaning, SmartWarning
from agents.node.config import StorageConfig
from agents.node.manager_client import Fault, ManagerClient, NoManager
from agents.protocol import Target

logger = logging.getLogger(__name__)

INTERNAL = 500
LOOK_AGAIN = 60.0
"""Seconds after which it is asked anew which disks are ours."""
RETRY = 5.0
KMSG = Path("/dev/kmsg")


class Monitor:
    """Judges what is heard, and tells the manager as this node."""

    def __init__(
        self, config: StorageConfig, memory: Path, blocks: Path = our_disks.BLOCKS
    ) -> None:
        self._config, self._memory, self._blocks = config, memory, blocks
        self._manager = ManagerClient(
            config.manager_endpoints, config.token_name, config.token_file
        )
        self._asked = self._tried = float("-inf")

    def hear_smartd(self, warning: SmartWarning) -> None:
        """Take note of one warning of smartd, and tell the manager what follows."""
        if warning.meaning is Meaning.TEST:
            self._manager.table("vastsky.clusterInfo")
            logger.info("smartd tries whether it is heard: it is, and the manager answers")
            return
        logger.warning("smartd: %s: %s: %s", warning.device, warning.kind, warning.text)
        device = Path(os.path.realpath(warning.device)).name
        reason = f"smartd: {warning.text or warning.kind}"
        for disk in self._ours():
            if warning.meaning is Meaning.FAILS and device in disk.devices:
                self._judge(judgement.failure, pdskid=disk.pdskid, reason=reason)
        self.tell()

    def follow(self, kmsg: Path = KMSG, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Follow the kernel's log; what was read of it before, since this boot, is over."""
        while not self._ours() and goes_on():
            time.sleep(RETRY)  # without a manager that knows us there is nobody to be told
        boot = boot_id()
        if read(self._memory).boot != boot:
            change(self._memory, lambda memory: replace(memory, boot=boot, record=-1))
        last = read(self._memory).record
        for record in kernel_log.follow(kmsg, lambda: self.tell() and goes_on()):
            if record.number > last:
                last = record.number
                self._hear_kernel(record)

    def _hear_kernel(self, record: Record) -> None:
        found = kernel_log.bad_sector(record.text)
        if found is None:
            return
        for disk in self._ours():
            block = disk.block_of(found.device, found.sector)
            if block is not None:
                logger.error("GB %d of pdsk-%08x: %s", block, disk.pdskid, record.text)
                self._judge(judgement.bad_block, pdskid=disk.pdskid, block=block)
        change(self._memory, lambda memory: replace(memory, record=record.number))

    def _judge(self, judge: Callable[..., MonitorMemory], **about: Any) -> None:
        change(self._memory, partial(judge, now=int(time.time()), **about))

    def _ours(self) -> tuple[OurDisk, ...]:
        """Tell which disks are ours; while the manager is away, those that were."""
        if time.monotonic() - self._asked > LOOK_AGAIN:
            try:
                found = tuple(our_disks.find(self._config, self._manager, self._blocks))
            except (NoManager, Fault) as error:
                logger.warning("the manager does not say which disks are ours: %s", error)
            else:
                self._asked = time.monotonic()
                change(self._memory, lambda memory: replace(memory, disks=found))
        return read(self._memory).disks

    # -- telling ----------------------------------------------------------------------------------

    def tell(self) -> bool:
        """Tell what is still to be told, all of it or up to where the manager is away; True."""
        if time.monotonic() - self._tried < RETRY:
            return True
        for note in read(self._memory).notes:
            if not self._tell(note):
                self._tried = time.monotonic()
                return True
            change(self._memory, partial(_without, note=note))
        return True

    def _tell(self, note: Untold) -> bool:
        """Tell one thing; False if it is to be told again."""
        method, struct = _call(note)
        try:
            self._manager.call(method, **struct)
        except NoManager as error:
            logger.warning("%s %s not told yet: %s", method, struct, error)
            return False
        except Fault as fault:
            logger.warning("%s %s refused: %d %s", method, struct, fault.errno, fault)
            return fault.errno not in (INTERNAL, errno.EAGAIN)
        logger.info("%s %s told", method, struct)
        return True


def _call(note: Untold) -> tuple[str, dict[str, object]]:
    if note.block != DISK:
        return "notifyBadBlocks", {"pdskid": note.pdskid, "blocks": [note.block]}
    about = {"target": int(Target.DISK), "targetid": note.pdskid, "reason": note.reason}
    return "notifyFailure", about


def _without(memory: MonitorMemory, note: Untold) -> MonitorMemory:
    return replace(memory, notes=tuple(one for one in memory.notes if one != note))
