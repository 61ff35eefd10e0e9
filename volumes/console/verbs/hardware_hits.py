"""What is touched by what may be done to servers and disks: said before it is done."""

from django.db.models import Count, Q

from inventory import servers
from inventory.models import ALIVE, USABLE, Disk, HeadServer, Priority, StorageServer
from volumes.console.frame.formats import size
from volumes.console.frame.pills import PRIORITIES
from volumes.console.verbs.verb import Rows
from volumes.models import Attachment, Job, Replica
from volumes.repair import drain, failures, retraction
from volumes.replicas.rows import GOOD
from volumes.reports import capacity, protection

NAMED = 8
PLANNED = 2
"""A plan reads all room and replicas: for so many places it is made before anybody asks."""


def place_of(rows: Rows) -> Q:
    """Select the replicas on servers or disks."""
    if rows and isinstance(rows[0], Disk):
        return Q(extent__disk__in=[row.pk for row in rows])
    return Q(server__in=[row.pk for row in rows])


def of_head_failure(rows: Rows) -> list[str]:
    """Name the volumes that lose their head."""
    attached = Attachment.objects.filter(head__in=rows).select_related("volume")
    names = [attachment.volume.name for attachment in attached[: NAMED + 1]]
    if not names:
        return ["Nothing is attached there."]
    return [f"{attached.count()} attached volumes are fenced off: " + _shorten(names)]


def of_taking_back(rows: Rows) -> list[str]:
    """Count the replicas that are kept."""
    kept = retraction.count_kept(rows)
    said = [f"{row}: {kept.get(row.pk, 0)} replicas are kept." for row in rows]
    away = [str(row) for row in rows if row.priority == Priority.OFFLINE]
    if away:
        said.append(f"{_shorten(away[: NAMED + 1])} registers by itself once it runs.")
    return said


def _disks_of(rows: Rows) -> list[Disk]:
    if not rows or isinstance(rows[0], HeadServer):
        return []
    if isinstance(rows[0], Disk):
        return list(rows)
    return list(Disk.objects.filter(server__in=[row.pk for row in rows]).order_by("pk"))


def _unshredded(disks: list[Disk]) -> str:
    """Say how much of deleted volumes can still be read on disks."""
    usages = capacity.of_disks([disk.pk for disk in disks])
    left = {disk: usages[disk.pk].shredding for disk in disks if disk.pk in usages}
    names = [f"{size(gb)} on {disk}" for disk, gb in left.items() if gb]
    if not names:
        return ""
    return "Not shredded yet, so that whoever has the disk can read it: " + _shorten(names) + "."


def _disks_hit(rows: Rows, what: str) -> list[str]:
    disks = _disks_of(rows)
    named = [f"{disk}, {size(disk.capacity_gb)}" for disk in disks]
    own = named and not isinstance(rows[0], Disk)
    with_it = f"{len(named)} disks {what} with it: {_shorten(named[: NAMED + 1])}." if own else ""
    return [text for text in (with_it, _unshredded(disks)) if text]


def of_deletion(rows: Rows) -> list[str]:
    """Tell the disks and the unshredded data that are forgotten."""
    return _disks_hit(rows, "are forgotten")


def waited_for(rows: Rows) -> dict[int, int]:
    """Count by storage server the replicas that are not replaced yet, for it may come back."""
    if not rows or not isinstance(rows[0], StorageServer):
        return {}
    waited = failures.waited_for(Replica.objects.filter(place_of(rows)))
    return dict(waited.order_by().values_list("server").annotate(Count("pk")))


def of_failure(rows: Rows) -> list[str]:
    """Tell the replicas, disks and unshredded data that go with a failed place."""
    said = [*_replicas_hit(rows), *_disks_hit(rows, "are out")]
    if waited := sum(waited_for(rows).values()):
        replicas = "replica it left behind is" if waited == 1 else "replicas it left behind are"
        said.insert(1, f"{waited} {replicas} replaced at once, without waiting for its return.")
    for row in rows[:PLANNED]:
        plan = drain.plan_evacuation(row)
        if plan.stuck:
            said.append(f"{row}: {plan.stuck} replicas have no other place now: {plan.reason}")
    return said


def _replicas_hit(rows: Rows) -> list[str]:
    replicas = Replica.objects.filter(place_of(rows), status__in=GOOD)
    count = replicas.count()
    volumes = replicas.values("mirror__volume").distinct().count()
    if not count:
        return ["No good replica of a volume is on it."]
    return [f"{count} good replicas of {volumes} volumes are out at once and rebuilt elsewhere."]


def last_replicas(rows: Rows) -> list[str]:
    """Name the volumes whose last good replicas are there."""
    return [name for _, name in protection.only_there(place_of(rows))]


def of_evacuation(rows: Rows) -> list[str]:
    """Tell what would move, and what could not."""
    said = []
    for row in rows[:PLANNED]:
        plan = drain.plan_evacuation(row)
        said.append(f"{row}: {plan.replicas} replicas, {plan.gb} GiB, move elsewhere.")
        if plan.stuck:
            said.append(f"{row}: {plan.stuck} replicas have no other place now: {plan.reason}")
    if len(rows) > PLANNED:
        said.append(f"What would move from {len(rows) - PLANNED} more is not worked out here.")
    return said


def of_return(rows: Rows) -> list[str]:
    """Tell what stays, what takes new data again, and what does not in spite of it."""
    return [text for row in rows for text in _returned(row)]


def _returned(row: StorageServer | Disk) -> list[str]:
    job = drain.standing(row, Job.Kind.EVACUATE)
    ends = "its evacuation ends; " if job and job.state == Job.State.OPEN else ""
    count = Replica.objects.filter(place_of([row])).count()
    left = f"{count or 'no'} {'replica is' if count < 2 else 'replicas are'}"  # noqa: PLR2004
    others = _still_out(row)
    return [f"{row}: {ends}{left} left on it.", *([f"{row}: {others}."] if others else [])]


def _still_out(row: StorageServer | Disk) -> str:
    """Say what else keeps new data away from a place, or from some of its disks."""
    if isinstance(row, Disk):
        up, state = row.server.priority in USABLE, _priority(row.server)
        return "" if up else f"nothing new lands there: its server is {state}"
    rest = Disk.objects.filter(server=row).exclude(priority__in=USABLE).order_by("pk")
    named = [f"{disk} is {_priority(disk)}" for disk in rest[: NAMED + 1]]
    return f"nothing new lands on some of its disks: {_shorten(named)}" if named else ""


def _priority(row: StorageServer | Disk) -> str:
    return PRIORITIES[Priority(row.priority)].text


def of_shutdown(_: Rows) -> list[str]:
    """Count what is shut down."""
    heads = HeadServer.objects.filter(priority__in=ALIVE).count()
    storages = StorageServer.objects.filter(priority__in=ALIVE).count()
    return [
        f"{heads} head servers become OFFLINE, {storages} storage servers and their disks HALT."
    ]


def of_start(_: Rows) -> list[str]:
    """Count what may come back."""
    halted = servers.count_halted()
    return [f"{halted} servers may register again; those whose agents run are back in a minute."]


def _shorten(names: list[str]) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
