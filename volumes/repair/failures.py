"""What a failure means for the replicas and volumes it touches; every report may come twice."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from agents.protocol import GONE, LOST, Reason, Target
from inventory import audit, clock, events, recovery, servers, space
from inventory.audit import Action
from inventory.errors import Busy, Invalid, NotFound
from inventory.events import Kind, Severity
from inventory.models import ALIVE, Disk, Extent, HeadServer, Priority, StorageServer
from inventory.write_lock import write_lock
from volumes.attach import detach
from volumes.models import Attachment, LogicalVolume, Replica
from volumes.repair import requests
from volumes.replicas import states
from volumes.replicas.rows import GOOD

UP = (*ALIVE, Priority.HALT)
OF_A_HEAD = frozenset({Reason.CONNECTION, Reason.IO})
"""Why a head leaves a replica behind by itself."""
TOLD = {reason.value: reason for reason in (Reason.RESTARTED, *sorted(OF_A_HEAD))}
"""The words of notifyFailure that mean more than that something was declared failed."""
AWAY = frozenset({Reason.CONNECTION, Reason.SILENT, Reason.RESTARTED})
"""Why a replica is left behind, and may be caught up once its server is back."""
SHUT_DOWN: dict[type[HeadServer | StorageServer | Disk], Priority] = {
    HeadServer: Priority.OFFLINE,
    StorageServer: Priority.HALT,
    Disk: Priority.HALT,
}
"""What a shutdown makes of what is up, in this order."""


def fail(target: int, target_id: int, words: str = "") -> None:
    """Take note that something failed; what is unknown or down already changes nothing.

    `words` are the caller's: the audit row keeps them. Unless they are one of TOLD, or a disk is
    GONE, they declare the target failed, and what was on it is replaced at once.
    """
    reason = TOLD.get(words, Reason.FAILED)
    match target:
        case Target.HEAD:
            fail_head(target_id, words)
        case Target.STORAGE:
            fail_storage(target_id, reason, words)
        case Target.DISK if words == GONE:
            lose_disk(target_id)
        case Target.DISK:
            fail_disk(target_id, Reason.FAILED, words)
        case Target.REPLICA:
            fail_replica(target_id, reason, words)
        case _:
            raise Invalid(f"target is 1 to 4, not {target}")


@write_lock()
def fail_head(head_id: int, words: str = "") -> None:
    """Put a head out of service and take its volumes away from it, fencing it off."""
    head = HeadServer.objects.filter(pk=head_id).first()
    if head is None:
        return
    moved = servers.set_priority(head, Priority.OFFLINE, was=UP)
    cause = f"{head.label} failed {words}".rstrip()
    attached = Attachment.objects.filter(head=head).select_related("volume", "head")
    fences = [detach.request_fence(attachment, cause) for attachment in attached]
    if moved or any(fences):
        audit.record(Action.FAIL_HEAD, head, words)


@write_lock()
def lose_head(head_id: int) -> None:
    """Put a silent head out of service. Its volumes stay its own: it may well be using them.

    Silence alone never takes a volume away; a person, a monitor, or the head's next boot does.
    """
    head = HeadServer.objects.filter(pk=head_id).first()
    if head is not None and servers.set_priority(head, Priority.OFFLINE, was=ALIVE):
        audit.record(Action.LOSE_HEAD, head, "silent")


@write_lock()
def fail_storage(storage_id: int, reason: Reason = Reason.FAILED, words: str = "") -> None:
    """Put a storage server and its disks out of service and have its replicas replaced.

    The replicas have their grace, unless the reason is one of those that say that they are lost:
    then those that were left behind before have it no longer, be the server out already or not.
    """
    server = StorageServer.objects.filter(pk=storage_id).first()
    if server is None:
        return
    replicas = Replica.objects.filter(server=server)
    moved = servers.set_priority(server, Priority.OFFLINE, was=UP)
    if moved:
        for disk in Disk.objects.filter(server=server, priority__in=UP):
            servers.set_priority(disk, Priority.OFFLINE)
            events.tell(Kind.OFFLINE, Severity.WARNING, disk, f"with its server {server.label}")
        _drop(replicas, reason)
    given_up = reason == Reason.FAILED and _give_up(replicas)
    if moved or given_up:
        audit.record(Action.FAIL_STORAGE, server, words or _told(reason))


@write_lock()
def fail_disk(disk_id: int, reason: Reason = Reason.FAILED, words: str = "") -> None:
    """Put a disk out of service for good and have its replicas replaced."""
    disk = Disk.objects.filter(pk=disk_id).first()
    if disk is None or disk.priority in (Priority.OFFLINE, Priority.FAULTY):
        return
    servers.set_priority(disk, Priority.FAULTY)
    _drop(Replica.objects.filter(extent__disk=disk), reason)
    audit.record(Action.FAIL_DISK, disk, words)


@write_lock()
def lose_disk(disk_id: int) -> None:
    """Put a disk that is gone out of service; its replicas have their grace, as a server's do."""
    disk = Disk.objects.filter(pk=disk_id).first()
    if disk is None or not servers.set_priority(disk, Priority.OFFLINE, was=ALIVE):
        return
    _drop(Replica.objects.filter(extent__disk=disk), Reason.SILENT)
    audit.record(Action.LOSE_DISK, disk, GONE)


@write_lock()
def distrust(disk: Disk) -> None:
    """Build the replicas on a copy of a disk anew, for it may lack what was written meanwhile.

    What was closed cleanly was not written, and marks tell an older image of it. The last good
    replica of a mirror stays: nobody has a better one.
    """
    on_it = Replica.objects.filter(extent__disk=disk)
    closed = _closed("mirror__volume") | _closed("mirror__volume__origin")
    written = on_it.exclude(pk__in=on_it.filter(closed).values("pk"))
    _drop(written, Reason.DISK)
    written.filter(status=Replica.Status.SPARE).move(Replica.Status.SPARE, Replica.Status.FAULTY)
    behind = written.filter(status=Replica.Status.FAULTY)
    behind.exclude(reason__in=LOST).update(reason=Reason.DISK)
    requests.request(behind.values_list("mirror", flat=True))


@write_lock()
def fail_replica(extent_id: int, reason: Reason = Reason.FAILED, words: str = "") -> None:
    """Take a head's word that a replica went bad, and have it caught up or replaced.

    A head that was fenced off loses all its replicas by that. What it says then must not cost the
    volume its good replicas, so a head's own reasons count only while its volume is bound.
    """
    replica = Replica.objects.select_related("mirror__volume").filter(pk=extent_id).first()
    if replica is None:
        if not Extent.objects.filter(pk=extent_id).exists():
            raise NotFound(f"there is no extent dext-{extent_id:08x}")
        return
    group = replica.mirror.volume.origin_id or replica.mirror.volume_id
    bound = Attachment.objects.filter(volume=group, state=Attachment.State.BOUND).exists()
    if reason in OF_A_HEAD and not bound:
        return
    if replica.status not in GOOD:
        changed = requests.request([replica.mirror_id])
    else:
        changed = _drop(Replica.objects.filter(pk=extent_id), reason, trusted=bound)
    if changed:
        audit.record(Action.FAIL_REPLICA, replica, words or _told(reason))


@write_lock()
def drop_absent() -> None:
    """Leave out replicas on servers and disks that are out, now that it is known which are newest.

    When these went out it was not: their volume was being attached, or its head had failed.
    """
    out = (Priority.OFFLINE, Priority.FAULTY)
    absent = Q(extent__disk__priority__in=out) | Q(server__priority__in=out)
    good = Replica.objects.filter(absent, status__in=GOOD)
    # One disk after the other: the last good replica of a mirror shows only that way.
    places = good.values_list("extent__disk", "extent__disk__priority").distinct()
    for disk, priority in places.order_by("extent__disk"):
        reason = Reason.DISK if priority == Priority.FAULTY else Reason.SILENT
        _drop(Replica.objects.filter(extent__disk=disk), reason)


@write_lock()
def note_cut_off(extent_ids: Collection[int]) -> None:
    """Take note of last good replicas that their heads cannot reach: they are to be exported anew.

    Where all went at once, we may have thought that another one was the last: the head knows.
    """
    replicas = Replica.objects.filter(pk__in=extent_ids)
    states.mark_in_sync(list(replicas.exclude(status__in=GOOD).values_list("pk", flat=True)))
    cut_off = replicas.filter(status=Replica.Status.INSYNC)
    cut_off.filter(reason=Reason.NONE).update(reason=Reason.CONNECTION)
    requests.request(cut_off.values_list("mirror", flat=True))


def forget_cut_off(groups: Collection[int], cut_off: Collection[int]) -> None:
    """Keep no reason for having been away of replicas that their heads have in sync again."""
    of_groups = Q(mirror__volume__in=groups) | Q(mirror__volume__origin__in=groups)
    back = Replica.objects.filter(of_groups, status=Replica.Status.INSYNC)
    back.filter(reason=Reason.CONNECTION).exclude(pk__in=cut_off).update(reason=Reason.NONE)


@transaction.atomic
def note_waiting(seconds: Mapping[int, int]) -> None:
    """Take a head's word for how long volumes have waited for storage; 0: they do not."""
    waiting = {pk: clock.now() - timedelta(seconds=told) for pk, told in seconds.items() if told}
    told = LogicalVolume.objects.filter(pk__in=seconds)
    _go_on(told.exclude(waiting_since=None).exclude(pk__in=waiting))
    for volume in told.filter(pk__in=waiting, waiting_since=None):
        LogicalVolume.objects.filter(pk=volume.pk).update(waiting_since=waiting[volume.pk])
        cause = "its head reaches no good replica of some part of it"
        events.tell(Kind.WAITING, Severity.ERROR, volume, cause)


@transaction.atomic
def forget_waiting() -> None:
    """Nothing waits that is attached nowhere."""
    waiting = LogicalVolume.objects.exclude(waiting_since=None)
    attached = Q(attachment__isnull=False) | Q(origin__attachment__isnull=False)
    _go_on(waiting.exclude(attached))


def _go_on(volumes: QuerySet[LogicalVolume]) -> None:
    for volume in volumes:
        LogicalVolume.objects.filter(pk=volume.pk).update(waiting_since=None)
        events.tell(Kind.GOES_ON, Severity.INFO, volume, "it waits for storage no more")


@write_lock()
def trust_head(insync: Collection[int], faulty: Collection[int]) -> None:
    """Count replicas that a head has in sync where it lost all others that we count.

    We may not reach them, but nobody else has the newest data.
    """
    lost = Replica.objects.filter(pk__in=faulty, status__in=GOOD).values("mirror")
    others = Replica.objects.filter(mirror=OuterRef("mirror"), status__in=GOOD)
    kept = Exists(others.exclude(pk__in=faulty))
    left = Replica.objects.filter(~kept, pk__in=insync, mirror__in=lost)
    states.mark_in_sync(list(left.values_list("pk", flat=True)))


@write_lock()
def report_bad_blocks(disk_id: int, blocks: Collection[int]) -> None:
    """Take bad GB of a disk out of use; replicas that live on them are replaced first."""
    disk = Disk.objects.filter(pk=disk_id).first()
    if disk is None:
        raise Invalid(f"there is no disk pdsk-{disk_id:08x}")
    before = _bad_extents(disk)
    hit = space.retire(disk, blocks)
    spoilt = blocks and disk.priority == Priority.HIGH
    lowered = spoilt and servers.set_priority(disk, Priority.LOW)
    asked = requests.request(Replica.objects.filter(pk__in=hit).values_list("mirror", flat=True))
    if lowered or asked or _bad_extents(disk) != before:
        audit.record(Action.REPORT_BAD_BLOCKS, disk, f"{len(set(blocks))} blocks of 1 GiB")


@write_lock()
def shut_down() -> None:
    """Take all servers out of service; Busy while any is attached to.

    They are back when they are started anew, or register after a person said so.
    """
    recovery.refuse("a shutdown")
    if attached := Attachment.objects.count():
        raise Busy(f"{attached} volumes are attached")
    servers.halt_all()
    moved = []
    for kind, to in SHUT_DOWN.items():
        up = kind.objects.filter(priority__in=ALIVE)
        moved += [servers.set_priority(row, to) for row in up]
    if any(moved):
        audit.record(Action.SHUT_DOWN, "cluster")


def waited_for(replicas: QuerySet[Replica]) -> QuerySet[Replica]:
    """Choose those left behind that are not replaced yet, for their server may come back."""
    return replicas.filter(status=Replica.Status.FAULTY, reason__in=AWAY)


def _told(reason: Reason) -> str:
    """Say nothing of what was merely declared failed: the entry's verb says that."""
    return "" if reason == Reason.FAILED else str(reason)


def _bad_extents(disk: Disk) -> tuple[int, int]:
    """Count the GB that are out of use, and the extents that are to be moved away from bad ones."""
    extents = Extent.objects.filter(disk=disk)
    faulty = extents.filter(status=Extent.Status.FAULTY).aggregate(gb=Sum("size_gb"))["gb"]
    return faulty or 0, extents.filter(status=Extent.Status.EVACUATE).count()


def _drop(replicas: QuerySet[Replica], reason: Reason, *, trusted: bool = False) -> bool:
    """Leave replicas out and queue the repair of their mirrors; whether that changed anything.

    The last good replica stays. A volume that was not closed cleanly, and whose head cannot tell
    which replicas it still used, keeps all of them: one that looks lost may be the only one with
    the newest data. So does one that waits for storage: its head may go on with any of them.
    `trusted`: the head itself says so.
    """
    chosen = Replica.objects.filter(pk__in=replicas, status__in=GOOD)
    if not trusted:
        if reason not in LOST:
            chosen = chosen.filter(mirror__volume__waiting_since=None)
        chosen = chosen.filter(_knowable("mirror__volume") | _knowable("mirror__volume__origin"))
    others = Replica.objects.filter(mirror=OuterRef("mirror"), status__in=GOOD).exclude(
        pk=OuterRef("pk")
    )
    spare = chosen.annotate(not_last=Exists(others))
    rows = list(spare.values_list("pk", "mirror", "not_last"))
    left = states.mark_out_of_sync([pk for pk, _, not_last in rows if not_last], reason)
    last = Replica.objects.filter(
        extent__id__among=[pk for pk, _, not_last in rows if not not_last]
    )
    marked = last.exclude(reason=reason).update(reason=reason)
    asked = requests.request({mirror for _, mirror, _ in rows})
    return bool(left or marked or asked)


def _give_up(replicas: QuerySet[Replica]) -> bool:
    """Wait no longer for replicas that were left behind as their server was away; whether any was.

    Mirrors keep what they have: these are none of their good replicas.
    """
    behind = waited_for(replicas)
    mirrors = set(behind.values_list("mirror", flat=True))
    behind.update(reason=Reason.FAILED)
    requests.request(mirrors)
    return bool(mirrors)


def _knowable(volume: str) -> Q:
    """Match groups of which it is known which replicas are the newest.

    A head that was not heard lately may have lost its power with the others, and may have left
    replicas behind before that: only their marks tell which.
    """
    lately = clock.now() - timedelta(seconds=settings.VASTSKY_OFFLINE_SECONDS)
    used = Q(
        **{
            f"{volume}__attachment__state": Attachment.State.BOUND,
            f"{volume}__attachment__head__priority__in": ALIVE,
            f"{volume}__attachment__head__last_answer__gt": lately,
        }
    )
    is_origin = Q(**{f"{volume}__isnull": False, f"{volume}__origin": None})
    return _closed(volume) | (is_origin & used)


def _closed(volume: str) -> Q:
    """Match groups that are not attached and were closed cleanly."""
    return Q(
        **{
            f"{volume}__isnull": False,
            f"{volume}__origin": None,
            f"{volume}__attachment": None,
            f"{volume}__closed_cleanly": True,
        }
    )
