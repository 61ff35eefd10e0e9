"""What has to be true after a round, once all is whole and nobody writes."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy.local import observe
from tests.thrash.arena import Arena
from tests.thrash.figures import Kind, Violation
from tests.thrash.volume import Volume, read
from tests.upgrade.images import content as written

if TYPE_CHECKING:
    from tests.thrash.oracle import Readable

GB = 1 << 30
EQUAL = 60
"""Seconds in which dirty regions are made equal after an unclean end."""


def check(arena: Arena) -> list[Violation]:
    """Look at everything there is; nothing is written meanwhile."""
    busy = [volume.name for volume in arena.volumes if not volume.rest()]
    if busy:
        return [Violation(Kind.STUCK, f"a write to {name} is not answered") for name in busy]
    found: list[Violation] = []
    for volume in arena.volumes:
        found += [Violation(Kind.LOST, text) for text in _volume(arena, volume)]
    found += [Violation(Kind.LOST, text) for text in _replicas_differ(arena)]
    checked = arena.cluster.manage("fsck")
    if checked.returncode or checked.stdout:
        found.append(Violation(Kind.STUCK, f"fsck: {checked.stdout}{checked.stderr}"))
    if not found:
        _settle(arena)
    return found


def _volume(arena: Arena, volume: Volume) -> Iterator[str]:
    contents: dict[str, Readable] = {volume.name: volume.oracle, **volume.snapshots}
    for name, content in contents.items():
        try:
            blocks, wrong = read(arena.link(volume.head, name), content, volume.regions)
        except OSError as error:
            yield f"{name} cannot be read: {error}"
        else:
            arena.figures.count("blocks_read_back", len(blocks))
            yield from (f"{name}: {text}" for text in wrong)


def _settle(arena: Arena) -> None:
    """Take what was read for what is right from now on: all replicas have it."""
    for volume in arena.volumes:
        blocks, _ = read(arena.link(volume.head, volume.name), volume.oracle, volume.regions)
        for block, data in blocks.items():
            volume.oracle.settle(block, data)


def _replicas_differ(arena: Arena) -> list[str]:
    """Compare the replicas of every mirror on the disks; dirty regions have a while."""
    deadline = time.monotonic() + EQUAL
    while (found := list(_differences(arena))) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def _differences(arena: Arena) -> Iterator[str]:
    paths = {row["pdskid"]: row["local_path"] for row in arena.call("listPhysicalDisks")}
    for row in arena.call("listLogicalVolumes"):
        for mirror in observe.mirrors(arena.call, row["lvolname"]):
            contents = {
                replica["lvolid"]: written(
                    paths[replica["lvolspec"]["pdskid"]],
                    replica["lvolspec"]["offset"] * GB,
                    replica["capacity"] * GB,
                )
                for replica in mirror["components"]
            }
            if len(set(contents.values())) > 1:
                odd = frozenset.union(*contents.values()) - frozenset.intersection(
                    *contents.values()
                )
                places = sorted({mib for mib, _ in odd})[:8]
                yield (
                    f"replicas {sorted(contents)} of {row['lvolname']} differ on their disks"
                    f" in MiB {places}"
                )
