"""SMART figures of the disks, where smartctl is there and may ask them."""

import json
import logging
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterable
from typing import Any

from agents.node.storage.labelled_disk import OpenDisk
from agents.protocol import SmartFigures
from agents.xmlrpc import INT_MAX

logger = logging.getLogger(__name__)

EVERY_SECONDS = 600.0
ASK_SECONDS = 30
UNKNOWN = -1
TOO_WARM = 0x02
"""A bit of NVMe's critical warning. It is about the room, and about all disks there: none fails."""
REALLOCATED, PENDING = 5, 197
"""Numbers of ATA's attributes; their raw values are counts of sectors."""

Ask = Callable[[str], str]
"""Gives what smartctl says of a device as JSON; "" where it says nothing."""


class SmartWatch:
    """Asks each disk now and then; one that sleeps is left asleep, and keeps its last figures."""

    def __init__(self, disks: Iterable[OpenDisk], ask: Ask | None = None) -> None:
        self._disks = disks
        self._ask = ask or _smartctl()
        self._figures: dict[str, SmartFigures] = {}
        self._over = threading.Event()

    def start(self) -> None:
        """Begin, in a thread of its own; without smartctl there is nothing to do."""
        if self._ask is not None:
            threading.Thread(target=self._run, name="smart", daemon=True).start()

    def of(self, uuid: str) -> SmartFigures:
        """Tell what a disk said last."""
        return self._figures.get(uuid, SmartFigures())

    def look(self) -> None:
        """Ask every disk that works, once."""
        for disk in self._disks:
            if disk.error or self._ask is None:
                continue
            if (figures := read_figures(self._ask(disk.config.path))) != SmartFigures():
                self._figures[disk.uuid] = figures

    def _run(self) -> None:
        while not self._over.wait(0):
            try:
                self.look()
            except Exception:
                logger.exception("the disks' SMART figures cannot be read")
            self._over.wait(EVERY_SECONDS)


def read_figures(text: str) -> SmartFigures:
    """Read smartctl's JSON of ATA, SCSI and NVMe disks; what is not in it is not known."""
    try:
        told = json.loads(text)
    except ValueError:
        return SmartFigures()
    passed = _at(told, "smart_status", "passed")
    if _at(told, "smart_status", "nvme", "value") == TOO_WARM:
        passed = True  # the temperature tells it
    table = _at(told, "ata_smart_attributes", "table")
    raw = {
        row.get("id"): _at(row, "raw", "value")
        for row in (table if isinstance(table, list) else [])
        if isinstance(row, dict)
    }
    nvme = "nvme_smart_health_information_log"
    return SmartFigures(
        passed=int(passed) if isinstance(passed, bool) else UNKNOWN,
        temperature=_first(_at(told, "temperature", "current")),
        reallocated=_first(raw.get(REALLOCATED), _at(told, "scsi_grown_defect_list")),
        pending=_first(raw.get(PENDING)),
        wear=_first(
            _at(told, nvme, "percentage_used"),
            _at(told, "endurance_used", "current_percent"),
            _at(told, "scsi_percentage_used_endurance_indicator"),
        ),
    )


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _first(*values: object) -> int:
    """Take the first number that is told, within what the protocol carries."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            return min(max(value, 0), INT_MAX)
    return UNKNOWN


def _smartctl() -> Ask | None:
    program = shutil.which("smartctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return None

    def ask(path: str) -> str:
        try:
            if not stat.S_ISBLK(os.stat(path).st_mode):  # noqa: PTH116  as blocks.py asks
                return ""
            done = subprocess.run(
                [program, "--json", "-n", "standby", "-H", "-A", os.path.realpath(path)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ASK_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            logger.info("smartctl: %s: %s", path, error)
            return ""
        return done.stdout

    return ask
