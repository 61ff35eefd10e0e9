"""What recovery is to do, decided purely from what the nodes told and what the rows say."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from agents.protocol import FoundReplica, VolumeAbout
from volumes.orphans.standing import lies_in
from volumes.recovery.survey import Survey


@dataclass(frozen=True, slots=True)
class ReplicaPlace:
    """One replica on one disk, as the disk tells it."""

    server: int
    disk: str
    found: FoundReplica

    @property
    def dextid(self) -> int:
        """The number of its extent."""
        return self.found.mark.dextid

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The numbers of its extent, its mirror and its volume."""
        return self.dextid, self.found.mirrorid, self.found.volume.lvolid


@dataclass(frozen=True, slots=True)
class HeldReplica:
    """One replica as the rows have it; `born`: when its volume was made, as disks tell it.

    `fresh`: no head has used it yet, so its disk need not tell of it.
    """

    dextid: int
    volume: int
    mirror: int
    born: int
    disk: str
    at_gb: int
    size_gb: int
    generation: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What the rows say. `origins`: of which volume each snapshot is."""

    replicas: Sequence[HeldReplica]
    births: Mapping[int, int]
    names: Mapping[str, int]
    next_id: int
    gaps: Sequence[range] = ()
    origins: Mapping[int, int] = field(default_factory=dict)

    def is_unsure(self, number: int) -> bool:
        """Tell whether another life of this database may have given a number out."""
        return number >= self.next_id or lies_in(self.gaps, number)

    def with_snapshots(self, volumes: Collection[int]) -> set[int]:
        """Add their snapshots to volumes."""
        return {*volumes, *(number for number, of in self.origins.items() if of in volumes)}

    def has_deleted(self, volume: int, dextid: int) -> bool:
        """Tell whether a recovery took a volume up that is no more; one replica was away then."""
        skipped = dextid < self.next_id
        return skipped and volume not in self.births and not self.is_unsure(volume)


@dataclass(frozen=True, slots=True)
class VolumeRecovery:
    """What becomes of one volume: its replicas from now on."""

    about: VolumeAbout
    places: tuple[ReplicaPlace, ...]
    is_new: bool
    name: str

    @property
    def newest(self) -> Mapping[int, int]:
        """The highest event count of each of its mirrors."""
        events: dict[int, int] = {}
        for place in self.places:
            mirror = place.found.mirrorid
            events[mirror] = max(place.found.mark.events, events.get(mirror, 0))
        return events


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done. `lost`: replicas that their disks do not hold any more.

    `deleted`: volumes all of whose replicas are. `surplus`: replicas that others have replaced.
    """

    volumes: tuple[VolumeRecovery, ...]
    lost: tuple[int, ...]
    deleted: tuple[int, ...] = ()
    surplus: tuple[ReplicaPlace, ...] = ()
    quarantined: Mapping[ReplicaPlace, str] = field(default_factory=dict)
    next_event: int = 1
    next_id: int = 1


def make(survey: Survey, held: Held) -> Plan:
    """Decide for each volume and for each replica that a disk tells of."""
    told = [ReplicaPlace(d.server, d.name, found) for d in survey.disks for found in d.replicas]
    spots = {(replica.disk, replica.at_gb) for replica in held.replicas}
    quarantined: dict[ReplicaPlace, str] = {
        place: "a head used it, and nothing tells what it is a part of"
        for place in told
        # An older agent left a mark where the rows have a replica.
        if not place.found.size_gb and (place.disk, place.found.at_gb) not in spots
    }
    live = [place for place in told if place.found.live and place.found.size_gb]
    lost = set(_lost(survey, held))
    void = held.with_snapshots(_void(live, held) - survey.running.keys())
    held = _without(held, void)
    wanted, strangers = _sort(live, held, lost)
    quarantined |= strangers
    surplus = [*_older_beside(wanted), *_too_many(wanted)]
    lost |= {place.dextid for place in surplus}
    deleted = _deleted(held, lost, wanted.keys() | survey.running.keys())
    held = _without(held, deleted)
    volumes: dict[int, VolumeRecovery] = {}
    # A snapshot's number is above its origin's.
    for lvolid, places in sorted(wanted.items()):
        if trouble := _trouble(places, held, volumes):
            quarantined |= dict.fromkeys(places, trouble)
        else:
            volumes[lvolid] = _volume(lvolid, places, held)
    return Plan(
        volumes=tuple(volumes.values()),
        lost=tuple(sorted(lost)),
        deleted=tuple(sorted(deleted | void)),
        surplus=tuple(surplus),
        quarantined=quarantined,
        next_event=survey.event + 1,
        next_id=1 + max([survey.number, *(place.dextid for place in told), *_numbers(live)]),
    )


def _numbers(live: Iterable[ReplicaPlace]) -> Iterator[int]:
    for place in live:
        yield max(*place.numbers, place.found.volume.origin)


def _void(live: Sequence[ReplicaPlace], held: Held) -> set[int]:
    """Name the volumes of the rows that were never used, and of which a number names another's.

    A database that was copied back gave it out again, before it noticed: what was used stays.
    """
    told = {(place.found.volume.lvolid, place.found.volume.created) for place in live}
    used = {row.volume for row in held.replicas if not row.fresh}
    never = {n for n, born in held.births.items() if n not in used and (n, born) not in told}
    numbers = {number for place in live for number in place.numbers}
    again = {row.volume for row in held.replicas if numbers & {row.volume, row.mirror, row.dextid}}
    return never & again


def _deleted(held: Held, lost: Collection[int], found: AbstractSet[int]) -> set[int]:
    """Name the volumes of which nothing is left; no origin was deleted before its snapshots."""
    kept = {replica.volume for replica in held.replicas if replica.dextid not in lost}
    return held.with_snapshots(held.births.keys() - kept - found)


def _without(held: Held, void: Collection[int]) -> Held:
    births = {number: born for number, born in held.births.items() if number not in void}
    names = {name: number for name, number in held.names.items() if number not in void}
    return replace(held, births=births, names=names)


def _sort(
    live: Sequence[ReplicaPlace], held: Held, lost: Collection[int]
) -> tuple[dict[int, list[ReplicaPlace]], dict[ReplicaPlace, str]]:
    """Tell whose each replica is; those that ended before the dump are nobody's, and go."""
    rows = {replica.dextid for replica in held.replicas}
    owners = _owners(held, lost)
    births = {**_latest_births(live), **held.births}
    wanted: dict[int, list[ReplicaPlace]] = defaultdict(list)
    strangers: dict[ReplicaPlace, str] = {}
    for place in live:
        volume = place.found.volume
        others = [n for n in place.numbers if owners.get(n, volume.lvolid) != volume.lvolid]
        if births[volume.lvolid] != volume.created:
            strangers[place] = (
                f"its volume's number names lvol-{volume.lvolid:08x}, another one, here"
            )
        elif others:
            owner = owners[others[0]]
            strangers[place] = f"its number {others[0]:08x} names a part of lvol-{owner:08x} here"
        elif place.dextid in rows or (
            held.is_unsure(place.dextid) and not held.has_deleted(volume.lvolid, place.dextid)
        ):
            wanted[volume.lvolid].append(place)
    return wanted, strangers


def _owners(held: Held, lost: Collection[int]) -> dict[int, int]:
    """Tell of which volume of the rows each number is."""
    owners = {number: number for number in held.births}
    for row in held.replicas:
        if row.volume in held.births:
            owners[row.mirror] = row.volume
            if row.dextid not in lost:
                owners[row.dextid] = row.volume
    return owners


def _latest_births(live: Iterable[ReplicaPlace]) -> dict[int, int]:
    births: dict[int, int] = {}
    for place in live:
        volume = place.found.volume
        births[volume.lvolid] = max(volume.created, births.get(volume.lvolid, 0))
    return births


def _older_beside(wanted: dict[int, list[ReplicaPlace]]) -> list[ReplicaPlace]:
    """Take out the replicas beside which a newer one of the same mirror is on the same server."""
    older: list[ReplicaPlace] = []
    for lvolid, places in wanted.items():
        best: dict[tuple[int, int], ReplicaPlace] = {}
        for place in sorted(places, key=_age):
            spot = (place.found.mirrorid, place.server)
            if spot in best:
                older.append(best[spot])
            best[spot] = place
        wanted[lvolid] = list(best.values())
    return older


def _too_many(wanted: dict[int, list[ReplicaPlace]]) -> list[ReplicaPlace]:
    """Take out replicas beyond what was promised; those that were made first have been replaced.

    One that was replaced while its volume was detached may be as new as the others until it is
    shredded.
    """
    surplus: list[ReplicaPlace] = []
    for lvolid, places in wanted.items():
        kept: list[ReplicaPlace] = []
        seen: dict[int, int] = defaultdict(int)
        for place in sorted(places, key=_age, reverse=True):
            seen[place.found.mirrorid] += 1
            promised = seen[place.found.mirrorid] <= place.found.volume.redundancy
            (kept if promised else surplus).append(place)
        wanted[lvolid] = kept
    return surplus


def _age(place: ReplicaPlace) -> tuple[int, int]:
    return place.found.mark.events, place.dextid


def _trouble(places: Sequence[ReplicaPlace], held: Held, planned: Collection[int]) -> str:
    """Say why a volume that the rows do not have cannot be put together; "" if it can."""
    about = places[0].found.volume
    if about.lvolid in held.births:
        return ""
    if about.origin and about.origin not in planned and about.origin not in held.births:
        return f"its origin lvol-{about.origin:08x} was not found"
    end_gb = 0
    for at_gb, size_gb in sorted({(p.found.offset_gb, p.found.size_gb) for p in places}):
        if at_gb != end_gb:
            return f"nothing holds its GB {end_gb}"
        end_gb = at_gb + size_gb
    return "" if end_gb == about.store_gb else f"nothing holds its GB {end_gb}"


def _volume(lvolid: int, places: Sequence[ReplicaPlace], held: Held) -> VolumeRecovery:
    about = max(places, key=lambda place: place.found.generation).found.volume
    taken = held.names.get(about.name, lvolid) != lvolid
    name = f"{about.name[:54]}.{lvolid:08x}" if taken else about.name
    return VolumeRecovery(about, tuple(places), lvolid not in held.births, name)


def _lost(survey: Survey, held: Held) -> Iterator[int]:
    """Name the replicas of the rows that their disks, which answered, hold no more.

    An older agent's replica has no descriptor, but its mark.
    """
    by_disk: dict[str, list[HeldReplica]] = defaultdict(list)
    for replica in held.replicas:
        by_disk[replica.disk].append(replica)
    for disk in survey.disks:
        for replica, there in _meet(by_disk[disk.name], disk.replicas):
            own = all(_is_its_own(replica, found) for found in there)
            if not (own and (there or replica.fresh)):
                yield replica.dextid


def _meet(
    replicas: Iterable[HeldReplica], content: Iterable[FoundReplica]
) -> Iterator[tuple[HeldReplica, list[FoundReplica]]]:
    """Tell what lies in the space of each replica of one disk; these never overlap."""
    ordered = sorted(replicas, key=lambda replica: replica.at_gb)
    ends = [replica.at_gb + replica.size_gb for replica in ordered]
    met: list[list[FoundReplica]] = [[] for _ in ordered]
    for found in content:
        end_gb = found.at_gb + max(found.size_gb, 1)
        number = bisect_right(ends, found.at_gb)
        while found.live and number < len(ordered) and ordered[number].at_gb < end_gb:
            met[number].append(found)
            number += 1
    return zip(ordered, met, strict=True)


def _is_its_own(replica: HeldReplica, found: FoundReplica) -> bool:
    if not found.size_gb:
        return found.at_gb == replica.at_gb and not replica.fresh
    told = (found.mark.dextid, found.generation, found.volume.created)
    return told == (replica.dextid, replica.generation, replica.born)
