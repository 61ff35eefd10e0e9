"""A storage agent keeps beside each extent what it is a part of, and lets nobody have it twice."""

import errno
import signal
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from agents.client import Fault
from agents.node.storage.occupancy import content as content_of
from agents.node.storage.super_extent import SuperExtent
from agents.ondisk import GB, MIB, Descriptor
from agents.protocol import (
    About,
    DiskQuestion,
    EvictOrder,
    ExportOrder,
    ExtentRef,
    FenceQuestion,
    GroupFence,
    Progress,
    PullOrder,
    ReplicaAbout,
    ReplicaSource,
    ShredOrder,
    VolumeAbout,
)

LVOL = 50
TENANT = VolumeAbout(LVOL, "tenant-a", 0, 2, 2, 2, 1764000000)


def export(*extents: ExtentRef, volume: VolumeAbout = TENANT, epoch: int = 1) -> ExportOrder:
    replicas = tuple(ReplicaAbout(e.dextid, volume.lvolid, 60, 0) for e in extents)
    about = About((volume,), replicas)
    return ExportOrder(7, 1, volume.lvolid, epoch, "secret", extents, about)


def stranger(lvolid: int = 51, **other: Any) -> VolumeAbout:
    return VolumeAbout(lvolid, "tenant-b", 0, 1, 1, 2, other.get("created", 1764009999))


def write_mark(node: Any, block: int) -> None:
    body = struct.pack("<8sIII", b"VASMARK1", 3, 17, 0)
    with node.disk_path.open("r+b") as disk:
        disk.seek(3 * GB + 64 * MIB + block * 4096)
        disk.write(body + struct.pack("<I", zlib.crc32(body)))


def content(node: Any) -> Any:
    return node.agent.content(DiskQuestion(node.extent().disk)).replicas


def test_a_disk_tells_what_was_exported_from_it(node: Any) -> None:
    node.agent.export(export(node.extent(1, 2, generation=4)))

    (found,) = content(node)

    assert (found.at_gb, found.size_gb, found.generation, found.live) == (1, 2, 4, True)
    assert (found.mark.dextid, found.mirrorid, found.volume) == (100, 60, TENANT)


def test_it_tells_it_after_a_crash_as_well(node: Any) -> None:
    node.agent.export(export(node.extent(1)))

    node.end(signal.SIGKILL)
    node.start()
    node.registered()

    assert [found.volume.name for found in content(node)] == ["tenant-a"]


def test_what_changes_is_written_at_the_next_export(node: Any) -> None:
    node.agent.export(export(node.extent(1)))
    grown = VolumeAbout(LVOL, "tenant-a", 0, 9, 9, 3, TENANT.created)

    node.agent.export(export(node.extent(1), volume=grown, epoch=2))

    assert [found.volume for found in content(node)] == [grown]


def test_an_older_managers_export_says_nothing_and_is_served(node: Any) -> None:
    reply = node.agent.export(ExportOrder(7, 1, LVOL, 1, "secret", (node.extent(),)))

    assert reply.refused == {}
    assert content(node) == ()


def test_what_a_shred_has_zeroed_holds_nothing(node: Any) -> None:
    node.agent.export(export(node.extent(1)))

    node.agent.shred(ShredOrder(9, 1, 1, node.extent(1)))

    assert node.await_end(9).progress is Progress.DONE
    assert content(node) == ()


@pytest.mark.parametrize(("offset_gb", "generation"), [(0, 1), (1, 1), (1, 2), (0, 7)])
def test_no_extent_is_served_where_another_ones_replica_lies(
    node: Any, offset_gb: int, generation: int
) -> None:
    """At its beginning or within it, of its generation or a later one."""
    node.agent.export(export(node.extent(0, 2)))
    node.agent.evict(EvictOrder(8, 1, LVOL, 1))

    extent = node.extent(offset_gb, dextid=120, generation=generation)
    reply = node.agent.export(export(extent, volume=stranger()))

    assert reply.occupied == (120,)
    assert "tenant-a" in reply.refused["120"]
    assert [found.volume.name for found in content(node)] == ["tenant-a"]


def test_the_same_numbers_of_another_life_are_another_replica(node: Any) -> None:
    """A database that was restored gives the same numbers again: volume, extent, generation."""
    node.agent.export(export(node.extent(0)))
    node.agent.evict(EvictOrder(8, 1, LVOL, 1))

    reply = node.agent.export(export(node.extent(0), volume=stranger(LVOL), epoch=3))

    assert reply.occupied == (100,)


def test_no_extent_is_served_that_holds_a_mark_beyond_its_first_gb(node: Any) -> None:
    write_mark(node, 1)

    reply = node.agent.export(export(node.extent(0, 2)))

    assert reply.occupied == (100,)
    (found,) = content(node)
    assert (found.at_gb, found.volume.lvolid, found.mark.events) == (1, 0, 17)


def test_a_replica_of_an_older_version_is_described_at_its_next_export(node: Any) -> None:
    write_mark(node, 1)

    reply = node.agent.export(export(node.extent(1, 1)))

    assert reply.refused == {}
    assert [found.volume.name for found in content(node)] == ["tenant-a"]


def test_space_is_not_zeroed_where_another_ones_replica_lies(node: Any) -> None:
    node.agent.export(export(node.extent(1, 1)))

    node.agent.shred(ShredOrder(9, 1, 1, node.extent(0, 3, dextid=120, generation=8)))
    report = node.await_end(9)

    assert (report.progress, report.errno) == (Progress.FAILED, errno.EEXIST)
    assert [found.live for found in content(node)] == [True]
    assert [e.dextid for e in node.state().exports] == [100]

    whole = node.extent(0, 3, dextid=120, generation=8)
    node.agent.shred(ShredOrder(9, 2, 1, whole, over=True))
    assert node.await_end(9, 2).progress is Progress.DONE
    assert content(node) == ()


def test_what_is_being_copied_is_told_from_the_beginning(node: Any) -> None:
    nowhere = ReplicaSource(tuple(node.settings["addresses"]), 1, "x")
    about = export(node.extent()).about

    node.agent.pull(PullOrder(9, 1, 1, LVOL, 1, nowhere, node.extent(), about))

    assert node.await_end(9).progress is Progress.FAILED
    assert [(found.live, found.mark.events) for found in content(node)] == [(True, 0)]


def test_a_node_tells_the_highest_numbers_that_it_was_told(node: Any, wait_until: Any) -> None:
    node.agent.export(export(node.extent(1, dextid=4711)))
    node.agent.shred(ShredOrder(990, 1, 1, node.extent(0)))
    node.await_end(990)
    node.agent.acknowledge([990])

    node.end(signal.SIGTERM)
    node.start()
    node.registered()

    seen = node.state().seen
    assert (seen.event, seen.group, seen.extent) == (990, LVOL, 4711)
    assert node.agent.fences(FenceQuestion()).fences == (GroupFence(LVOL, 1),)
    assert node.agent.fences(FenceQuestion(after=LVOL)).fences == ()


def test_a_disk_tells_how_new_its_space_is(node: Any) -> None:
    node.agent.export(export(node.extent(1, generation=6)))

    assert [disk.generation for disk in node.state().disks] == [6]


def test_the_numbers_of_an_order_mean_one_thing_for_ever(node: Any) -> None:
    node.agent.shred(ShredOrder(9, 1, 1, node.extent(1)))
    node.await_end(9)

    with pytest.raises(Fault) as refusal:
        node.agent.shred(ShredOrder(9, 1, 1, node.extent(2, dextid=101)))

    assert refusal.value.errno == errno.ESTALE
    assert node.agent.shred(ShredOrder(9, 1, 1, node.extent(1))).progress is Progress.DONE


def test_a_large_disk_tells_its_content_in_pages(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("w+b") as disk:
        disk.truncate(6000 * GB)
        place = SuperExtent(disk.fileno(), 6000)
        told = [*range(0, 900, 2), 5500]
        for at_gb in told:
            extent = Descriptor(at_gb + 1, 1, 1, 60, 0, LVOL, 0, 0, 2, 2, 2, 5, "tenant-a")
            place.write_descriptor(at_gb, extent)

        pages = [content_of(place, 0)]
        while pages[-1][1]:
            pages.append(content_of(place, pages[-1][1]))

    assert [found.at_gb for page, _ in pages for found in page] == told
    assert max(len(page) for page, _ in pages) == 200


def test_a_page_reads_no_more_of_a_disk_than_it_tells(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("w+b") as disk:
        disk.truncate(3000 * GB)
        place = Counted(disk.fileno(), 3000)
        for at_gb in range(1500):
            extent = Descriptor(at_gb + 1, 1, 1, 60, 0, LVOL, 0, 0, 2, 2, 2, 5, "tenant-a")
            place.write_descriptor(at_gb, extent)

        first, pages = 0, 0
        while pages == 0 or first:
            first, pages = content_of(place, first)[1], pages + 1

    assert place.read < 1500 + 2 * pages + 10


class Counted(SuperExtent):
    """Counts how many descriptors were read."""

    read = 0

    def read_descriptor(self, offset_gb: int) -> Descriptor | None:
        self.read += 1
        return super().read_descriptor(offset_gb)


def test_where_no_head_was_yet_no_mark_is_its_own(node: Any) -> None:
    write_mark(node, 1)
    replica = ReplicaAbout(100, LVOL, 60, 0, fresh=True)
    order = ExportOrder(7, 1, LVOL, 1, "secret", (node.extent(1),), About((TENANT,), (replica,)))

    assert node.agent.export(order).occupied == (100,)
