"""Whether an extent's space is clean: what lies there, by its descriptors and marks."""

import errno
from collections.abc import Iterator

from agents.errors import AgentError
from agents.node.storage.super_extent import SuperExtent
from agents.ondisk import Descriptor
from agents.protocol import About, ExtentRef, FoundReplica, ReplicaMark, VolumeAbout

PAGE = 200
"""Replicas in one answer; 100 bytes each, and what XML makes of it."""
LOOK_GB = 4096
"""Marks that are looked at for one answer."""
STORE = 1


class Occupied(AgentError):
    """Something else lies there, or may."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EEXIST, message)


def described(about: About) -> dict[int, Descriptor]:
    """Make the descriptors that an order's extents are to have; generation and size are theirs."""
    volumes = {volume.lvolid: volume for volume in about.volumes}
    return {
        one.dextid: Descriptor(
            dextid=one.dextid,
            generation=0,
            size_gb=0,
            mirrorid=one.mirrorid,
            offset_gb=one.offset_gb,
            lvolid=one.lvolid,
            origin=volume.origin,
            kind=STORE if volume.origin else 0,
            capacity_gb=volume.capacity_gb,
            store_gb=volume.store_gb,
            redundancy=volume.redundancy,
            created=volume.created,
            name=volume.name,
        )
        for one in about.replicas
        if (volume := volumes.get(one.lvolid))
    }


def describe(
    place: SuperExtent, extent: ExtentRef, wanted: Descriptor, *, fresh: bool = False
) -> None:
    """Write what the extent holds, not yet durably; Occupied where something else lies there.

    Where no head has used it yet, no mark is its own. An older agent's replica has a mark alone.
    """
    wanted = wanted._replace(generation=extent.generation, size_gb=extent.size_gb)
    found = place.read_descriptor(extent.offset_gb)
    if found == wanted:
        return
    if found is None or not found.is_same_replica(wanted):
        _require_clean(place, extent, wanted, fresh=fresh)
    place.write_descriptor(extent.offset_gb, wanted)


def require_over(place: SuperExtent, extent: ExtentRef) -> None:
    """Refuse to zero space where a replica of another extent lies."""
    for found in _overlapping(place, extent):
        if (found.dextid, found.generation) != (extent.dextid, extent.generation):
            raise _occupied_by(found)


def _require_clean(
    place: SuperExtent, extent: ExtentRef, wanted: Descriptor, *, fresh: bool
) -> None:
    for found in _overlapping(place, extent):
        if not found.is_same_replica(wanted):
            raise _occupied_by(found)
    own = 0 if fresh else 1
    for block in range(extent.offset_gb + own, extent.offset_gb + extent.size_gb):
        if place.has_mark(block):
            raise Occupied(f"extent {extent.dextid}: a head used what begins at GB {block}")


def _overlapping(place: SuperExtent, extent: ExtentRef) -> Iterator[Descriptor]:
    """Tell what lies in an extent's space, or reaches into it, and is not over."""
    for at_gb, found in place.descriptors(0, extent.offset_gb + extent.size_gb):
        if at_gb + found.size_gb > extent.offset_gb and place.is_live(at_gb, found):
            yield found


def _occupied_by(found: Descriptor) -> Occupied:
    what = f"extent {found.dextid} of volume {found.lvolid} {found.name!r}"
    return Occupied(f"{what} lies there, of generation {found.generation}")


def content(place: SuperExtent, first_gb: int) -> tuple[list[FoundReplica], int]:
    """Tell a page of what lies on a disk, and where the next one begins; 0 at the end."""
    end_gb = min(first_gb + LOOK_GB, place.capacity_gb - 1)
    # No further than the page goes: the next one begins to read where this one ends.
    described = place.descriptors(first_gb, end_gb)
    told = next(described, None)
    found: list[FoundReplica] = []
    for at_gb in range(first_gb, end_gb):
        if len(found) == PAGE:
            return found, at_gb
        if told and told[0] == at_gb:
            found.append(_found(place, *told))
            told = next(described, None)
        elif place.has_mark(at_gb):
            found.append(FoundReplica(at_gb, live=True, mark=place.read_mark(0, at_gb)))
    return found, end_gb if end_gb < place.capacity_gb - 1 else 0


def epochs(place: SuperExtent) -> dict[int, int]:
    """Tell the latest epoch in which each group used what lies on a disk, by the marks."""
    found: dict[int, int] = {}
    for at_gb, one in place.descriptors(0, place.capacity_gb - 1):
        if place.is_live(at_gb, one):
            group, epoch = one.origin or one.lvolid, place.read_mark(one.dextid, at_gb).epoch
            found[group] = max(epoch, found.get(group, 0))
    return found


def _found(place: SuperExtent, at_gb: int, one: Descriptor) -> FoundReplica:
    mark: ReplicaMark = place.read_mark(one.dextid, at_gb)
    about = VolumeAbout(
        lvolid=one.lvolid,
        name=one.name,
        origin=one.origin,
        capacity_gb=one.capacity_gb,
        store_gb=one.store_gb,
        redundancy=one.redundancy,
        created=one.created,
    )
    return FoundReplica(
        at_gb=at_gb,
        live=place.is_live(at_gb, one),
        mark=mark,
        generation=one.generation,
        size_gb=one.size_gb,
        mirrorid=one.mirrorid,
        offset_gb=one.offset_gb,
        volume=about,
    )
