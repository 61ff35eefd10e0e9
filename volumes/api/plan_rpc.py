"""The methods of the API that foretell: what room there is, where a volume would lie, what if."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from agents.xmlrpc import INT_MAX
from inventory import recovery
from inventory.errors import Invalid, NotFound
from inventory.models import Disk, HeadServer, StorageServer
from volumes.lifecycle import volumes
from volumes.placement import allocation, forecast, layout, policy
from volumes.placement.policy import Placed
from volumes.reports import loss
from volumes.reports.loss import FailureDomain

Struct = dict[str, Any]
Tags = Annotated[str, 256]
Place = Annotated[str, 64]


def capacity(*, redundancy: int = 3, tags: Tags = "") -> Struct:
    """Return the room of each failure domain, and the largest volume that has a place now.

    tags: only of disks that carry them all. recovery: why nothing of it is allocated for now.
    """
    volumes.check_size(1, redundancy)
    wanted = frozenset(tags.split())
    rooms = [room for room in allocation.rooms() if room.tags >= wanted]
    most_gb = volumes.CAPACITY_GB[-1]
    domains = forecast.domains(rooms)
    return {
        "capacity": min(sum(domain.capacity_gb for domain in domains), INT_MAX),
        "available": min(sum(domain.available_gb for domain in domains), INT_MAX),
        "largest": forecast.largest_gb(rooms, redundancy, tags=wanted, most_gb=most_gb),
        "domains": [_domain(domain) for domain in domains],
        "recovery": recovery.why(),
    }


def _domain(domain: forecast.DomainRoom) -> Struct:
    return {
        "site": domain.site,
        "rack": domain.rack,
        "servers": domain.servers,
        "disks": domain.disks,
        "capacity": min(domain.capacity_gb, INT_MAX),
        "available": min(domain.available_gb, INT_MAX),
    }


def plan_volume(*, capacity: int, redundancy: int = 3, tags: Tags = "") -> Struct:
    """Return where a volume would lie if it were created now; ENOSPC says in numbers why not.

    EAGAIN: the cluster is in recovery mode, and none is created.
    """
    volumes.check_size(capacity, redundancy)
    recovery.refuse("creating a volume")
    rooms = allocation.rooms()
    placed = policy.place(rooms, layout.mirror_sizes(capacity), redundancy, tags=tags.split())
    servers = {room.disk: room.server for room in rooms}
    return {"mirrors": [_mirror(mirror, servers) for mirror in placed]}


def _mirror(mirror: Placed, servers: dict[int, int]) -> Struct:
    replicas = [{"ssvrid": servers[disk], "pdskid": disk} for disk in mirror.disks]
    return {"capacity": mirror.size_gb, "replicas": replicas}


def plan_failure(
    *, hsvrid: int = 0, ssvrid: int = 0, pdskid: int = 0, site: Place = "", rack: Place = ""
) -> Struct:
    """Return what would be lost, cut off, or built anew if a server, disk, rack or site died now.

    rack: of that site; without it the whole site.
    """
    if not (site or rack):
        found = loss.foresee(_find(hsvrid, ssvrid, pdskid))
    elif hsvrid or ssvrid or pdskid:
        raise Invalid("a server or disk is wanted, or a site and rack")
    else:
        found = loss.foresee(_domain_of(site, rack))
    return {
        "copies": found.replicas,
        "gb": min(found.gb, INT_MAX),
        "stuck": found.stuck,
        "reason": found.reason,
        "lost": _volumes(found.lost),
        "cut_off": _volumes(found.cut_off),
    }


def _domain_of(site: str, rack: str) -> FailureDomain:
    domain = FailureDomain(site, rack or None)
    servers = StorageServer.objects.filter(site=site)
    if not (servers.filter(rack=rack) if rack else servers).exists():
        raise NotFound(f"no storage server is in {domain}")
    return domain


def _volumes(rows: Iterable[loss.Volume]) -> list[Struct]:
    return [{"lvolid": number, "lvolname": name} for number, name in rows]


def _find(hsvrid: int, ssvrid: int, pdskid: int) -> HeadServer | StorageServer | Disk:
    given: list[tuple[type[HeadServer | StorageServer | Disk], int]] = [
        (kind, number)
        for kind, number in ((HeadServer, hsvrid), (StorageServer, ssvrid), (Disk, pdskid))
        if number
    ]
    if len(given) != 1:
        raise Invalid("one of hsvrid, ssvrid, pdskid, or a site or rack, is wanted")
    ((kind, number),) = given
    row = kind.objects.filter(pk=number).first()
    if row is None:
        raise NotFound(f"there is no {kind(pk=number)}")
    return row


PROCEDURES: dict[str, Callable[..., Any]] = {
    "vastsky.capacity": capacity,
    "vastsky.planVolume": plan_volume,
    "vastsky.planFailure": plan_failure,
}
