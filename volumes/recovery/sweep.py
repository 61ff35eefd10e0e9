"""Take down what nodes still serve or run and what is surely over; leave alone all else.

Over is what this database ended itself: an older epoch of a volume that it has, or a volume that it
deleted. Whatever it does not understand may be newer than it, and is an orphan: written down.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from django.conf import settings
from django.db import transaction

from agents.protocol import (
    DetachOrder,
    ExportState,
    GroupState,
    HeadState,
    StorageState,
    UnsnapshotOrder,
)
from inventory import ids, recovery, servers
from volumes import labels, nodes
from volumes.attach import exports
from volumes.models import Attachment, Job, Orphan, Replica
from volumes.orphans import knowledge, orphan_list
from volumes.orphans.orphan_list import FoundOrphan
from volumes.orphans.standing import Known, Standing
from volumes.recovery import notice
from volumes.replicas import broken

logger = logging.getLogger(__name__)

Kind = Orphan.Kind

_rests_until = float("-inf")


def begin_grace() -> None:
    """Take nothing down for a while: this process, or the database under it, is new here."""
    global _rests_until  # noqa: PLW0603 - one per process
    _rests_until = time.monotonic() + settings.VASTSKY_SWEEP_GRACE_SECONDS


def _rests() -> bool:
    return time.monotonic() < _rests_until


@transaction.atomic
def event() -> int:
    """Take a number for an order that no job gives."""
    return ids.take("event")[0]


# -- storage servers ------------------------------------------------------------------------------


def sweep_exports(states: dict[int, StorageState]) -> None:
    """Note the exports that nobody here understands; evict those that are over, or left behind."""
    known = knowledge.of(e.lvolid for state in states.values() for e in state.exports)
    orphan_list.note([Kind.EXPORT], states, _strange_exports(states, known))
    notice.look_at_storage(states, known)
    if _rests() or recovery.why():
        return
    attached, used = _in_use(known.epochs)
    places = _places(e.dextid for state in states.values() for e in state.exports)
    for server, state in states.items():
        over = [e for e in state.exports if _may_go(e, known, attached)]
        for lvolid, epoch in {(e.lvolid, e.epoch) for e in over}:
            where, what = labels.storage(server), labels.volume(lvolid)
            logger.warning("%s still exports %s of epoch %s", where, what, epoch)
            exports.evict(event(), lvolid, epoch, [server])
        _evict_some(server, [e for e in state.exports if _is_idle(e, known, used)])
        _evict_some(server, [e for e in state.exports if _is_left(e, server, known, places)])


def _strange_exports(states: dict[int, StorageState], known: Known) -> dict[FoundOrphan, int]:
    return {
        FoundOrphan(Kind.EXPORT, server, e.lvolid, e.epoch, e.dextid, e.disk): e.clients
        for server, state in states.items()
        for e in state.exports
        if known.of_group(e.lvolid, e.epoch) == Standing.STRANGE
    }


def _in_use(groups: Iterable[int]) -> tuple[set[int], set[int]]:
    """Tell which groups are attached, or on their way; and which of all are used or repaired."""
    groups = list(groups)
    attached = set(Attachment.objects.filter(volume__in=groups).values_list("volume", flat=True))
    building = Job.objects.filter(kind=Job.Kind.REBUILD, state=Job.State.OPEN, volume__in=groups)
    return attached, attached | set(building.values_list("volume", flat=True))


def _may_go(export: ExportState, known: Known, attached: set[int]) -> bool:
    """An export that is over goes; one with a client only where a newer attach needs its place.

    An attach or a shred drops it anyhow; until then it does no harm.
    """
    if known.of_group(export.lvolid, export.epoch) != Standing.OVER:
        return False
    return not export.clients or export.lvolid in attached


def _is_idle(export: ExportState, known: Known, used: set[int]) -> bool:
    """Tell what a pull between servers, or an examination, left exported."""
    ours = known.of_group(export.lvolid, export.epoch) == Standing.OURS
    return ours and export.lvolid not in used and not export.clients


def _places(dextids: Iterable[int]) -> dict[int, int]:
    """Tell on which servers replicas are by now."""
    return dict(Replica.objects.filter(pk__in=set(dextids)).values_list("pk", "server"))


def _is_left(export: ExportState, server: int, known: Known, places: Mapping[int, int]) -> bool:
    """Tell what a server exports still of a disk that was put into another one.

    A head that has it open would take the eviction for a fence, and let go of the whole volume.
    """
    ours = known.of_group(export.lvolid, export.epoch) == Standing.OURS
    return ours and not export.clients and places.get(export.dextid, server) != server


def _evict_some(server: int, some: list[ExportState]) -> None:
    for lvolid, epoch in {(e.lvolid, e.epoch) for e in some}:
        left = [e.dextid for e in some if (e.lvolid, e.epoch) == (lvolid, epoch)]
        exports.evict(event(), lvolid, epoch, [server], left)


# -- head servers ---------------------------------------------------------------------------------


def sweep_groups(states: dict[int, HeadState]) -> None:
    """Note the groups that nobody here understands; have those taken down that are over.

    Their storage servers have dropped them: whoever has one open there only waits.
    """
    groups = [group for state in states.values() for group in state.groups]
    known = knowledge.of(_numbers(groups))
    orphan_list.note([Kind.GROUP, Kind.SNAPSHOT], states, dict(_strange(states, known)))
    notice.look_at_heads(states, known)
    if _rests() or recovery.why():
        return
    spoilt = broken.among(known.epochs)
    for head, state in states.items():
        for group in state.groups:
            standing = known.of_group(group.lvolid, group.epoch)
            if standing == Standing.OVER:
                _take_down(head, group)
            elif standing == Standing.OURS:
                _remove_snapshots(head, group, known, spoilt)


def _numbers(groups: Iterable[GroupState]) -> Iterator[int]:
    for group in groups:
        yield group.lvolid
        yield from (device.lvolid for device in group.devices)


def _strange(states: dict[int, HeadState], known: Known) -> Iterator[tuple[FoundOrphan, int]]:
    for head, state in states.items():
        for group in state.groups:
            if known.of_group(group.lvolid, group.epoch) == Standing.STRANGE:
                clients = sum(device.clients for device in group.devices)
                yield FoundOrphan(Kind.GROUP, head, group.lvolid, group.epoch), clients
                continue
            for device in group.devices:
                if known.of_volume(device.lvolid) == Standing.STRANGE:
                    yield (
                        FoundOrphan(Kind.SNAPSHOT, head, device.lvolid, group.epoch),
                        device.clients,
                    )


def _take_down(head: int, group: GroupState) -> None:
    logger.warning("%s still runs %s", labels.head(head), labels.volume(group.lvolid))
    incarnation = servers.cluster().incarnation
    order = DetachOrder(event(), 1, incarnation, group.lvolid, group.epoch, force=True)
    nodes.ask_all({head: partial(nodes.head(head).detach, order)})


def remove_snapshot(head: int, group: GroupState, snapshot: int) -> None:
    """Have a snapshot taken off its head, with its links."""
    incarnation = servers.cluster().incarnation
    order = UnsnapshotOrder(event(), 1, incarnation, group.lvolid, group.epoch, snapshot)
    nodes.ask_all({head: partial(nodes.head(head).unsnapshot, order)})


def _remove_snapshots(head: int, group: GroupState, known: Known, spoilt: set[int]) -> None:
    """Take away snapshots that were given up while the head was making them after all.

    And those that are broken by what another head told later; a head's own is an error to read.
    """
    for device in group.devices:
        over = known.of_volume(device.lvolid) == Standing.OVER
        if over or (device.lvolid in spoilt and not device.broken):
            logger.warning(
                "%s still shows snapshot %s", labels.head(head), labels.volume(device.lvolid)
            )
            remove_snapshot(head, group, device.lvolid)
