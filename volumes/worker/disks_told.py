"""What storage servers tell of their disks becomes rows: where they are, refused, failed, gone."""

import logging
from collections.abc import Mapping
from datetime import datetime

from agents.protocol import DiskState, Reason, SmartFigures, StorageState
from inventory import disk_health, whereabouts
from inventory.models import Disk
from volumes import labels
from volumes.repair import arrivals, failures

logger = logging.getLogger(__name__)


def note_refused(states: Mapping[int, StorageState], asked: datetime) -> None:
    """Take over which disks servers do not use, and why; and which of them are second ones."""
    whereabouts.note_refused(
        {
            server: [whereabouts.UnusedDisk(r.local_path, r.disk, r.reason) for r in state.refused]
            for server, state in states.items()
        }
    )
    whereabouts.note_seconds(_paths(states, working=True), asked)


def take_over(states: Mapping[int, StorageState], asked: datetime) -> None:
    """Take over where disks are, which failed, which are there no more, or again."""
    before = asked - whereabouts.SETTLED
    whereabouts.note_paths(_paths(states))
    disk_health.note(_figures(states))
    for disk in whereabouts.missing(_paths(states), before):
        logger.warning("%s is not told of by its server", labels.disk(disk))
        failures.lose_disk(disk)
    for row in whereabouts.returned(_paths(states, working=True), before):
        logger.warning("%s works again", row.label)
        arrivals.register_again(row)
    for server, state in states.items():
        for told in state.disks:
            if told.error:
                _fail(server, told, before)


def _figures(
    states: Mapping[int, StorageState],
) -> dict[int, tuple[int, disk_health.Figures]]:
    """Read what disks say of themselves; of agents and machines that cannot ask them, nothing."""
    return {
        told.pdskid: (server, _known(told.smart))
        for server, state in states.items()
        for told in state.disks
        if told.smart != SmartFigures()
    }


def _known(smart: SmartFigures) -> disk_health.Figures:
    told = {name: getattr(smart, name) for name in disk_health.FIGURES}
    known = {name: None if value < 0 else value for name, value in told.items()}
    return known | {"passed": None if smart.passed < 0 else bool(smart.passed)}


def _fail(server: int, told: DiskState, before: datetime) -> None:
    row = Disk.objects.filter(pk=told.pdskid, server=server)
    if told.gone and row.filter(priority_since__lt=before).exists():
        logger.warning("%s is gone: %s", labels.disk(told.pdskid), told.error)
        failures.lose_disk(told.pdskid)
    elif not told.gone and row.exists():
        logger.warning("%s failed: %s", labels.disk(told.pdskid), told.error)
        failures.fail_disk(told.pdskid, Reason.DISK, told.error[:500])


def _paths(
    states: Mapping[int, StorageState], *, working: bool = False
) -> dict[int, dict[str, str]]:
    return {
        server: {d.disk: d.local_path for d in state.disks if not (working and d.error)}
        for server, state in states.items()
    }
