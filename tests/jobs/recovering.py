"""A database that is older than its nodes: made so, and recovered by the commands."""

import itertools
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command

from agents.protocol import DiskState, FoundReplica, HighestSeen, ReplicaMark, VolumeAbout
from inventory import ids, recovery, servers
from inventory.models import Disk, IdSpace
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.integrity import backup
from volumes.models import LogicalVolume


def write_dump(dump: Path) -> None:
    servers.cluster()
    backup.write(dump)


def know(four: Cluster) -> None:
    """Let the nodes tell the highest numbers and generations, as agents do."""
    event = IdSpace.objects.get(name="event").next_id - 1
    number = IdSpace.objects.get(name="volume").next_id - 1
    nodes: list[Any] = [*four.world.storages.values(), *four.world.heads.values()]
    for node in nodes:
        node.seen = HighestSeen(event, number, number)
        node.incarnation = servers.cluster().incarnation
    for server, storage in four.world.storages.items():
        storage.disks = [
            DiskState(
                disk.local_path,
                disk.local_path,
                disk.pk,
                disk.capacity_gb,
                generation=max(disk.extents.values_list("generation", flat=True)),
            )
            for disk in Disk.objects.filter(server=server)
        ]


def restore(four: Cluster, dump: Path) -> None:
    know(four)
    backup.restore(dump)


def copy_back(four: Cluster, dump: Path) -> None:
    """Put an older copy of the rows in place by hand: nothing in them says that it is one."""
    with patch.object(recovery, "ROOM", 0):
        restore(four, dump)
    recovery.leave()


def recover(*options: str) -> str:
    out = StringIO()
    call_command("recover", *options, stdout=out)
    return out.getvalue()


def settle(four: Cluster) -> None:
    four.reconcile()
    four.work(3)
    four.reconcile()
    four.work(3)


def used(four: Cluster, head: Head, name: str, **more: Any) -> LogicalVolume:
    volume = four.create(name, **more)
    four.attach(volume, head)
    return volume


def places_of(four: Cluster, volume: LogicalVolume) -> list[tuple[int, int]]:
    return [(replica.pk, replica.server_id) for replica in four.replicas(volume)]


def kill_at_each_step(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], object], stride: int = 1
) -> int:
    """Run something that is killed at its first change, then at its second one, and so on.

    Each run goes on where the last one was cut off. How often it was killed.
    """
    for killed, step in enumerate(itertools.count(1, stride)):
        with monkeypatch.context() as patched:
            patched.setattr(ids, "lock", _killed_at(step))
            try:
                run()
            except KeyboardInterrupt:
                continue
            return killed
    raise AssertionError


def _killed_at(step: int) -> Callable[[str], None]:
    """Be killed at the next change but so many, within its transaction."""
    lock, changes = ids.lock, itertools.count(1)

    def locked(space: str) -> None:
        if next(changes) == step:
            raise KeyboardInterrupt
        lock(space)

    return locked


def add_stray(four: Cluster) -> FoundReplica:
    """Part of a volume whose beginning nobody holds."""
    number = 9001
    about = VolumeAbout(9000, "half", 0, 8, 8, 2, 1764000000)
    found = FoundReplica(
        at_gb=60,
        live=True,
        mark=ReplicaMark(number, 0, 0, clean=True),
        generation=1,
        size_gb=4,
        mirrorid=9002,
        offset_gb=4,
        volume=about,
    )
    node = four.world.storages[1]
    node.held[Disk.objects.filter(server=1)[0].local_path][number] = found
    return found


def lose_everything(four: Cluster, dump: Path) -> list[str]:
    """Let the nodes know all, and the database nothing; where the nodes are."""
    know(four)
    nodes: list[Any] = [*four.world.storages.values(), *four.world.heads.values()]
    for node in nodes:
        node.cluster = str(servers.cluster().uuid)
    with patch.object(recovery, "ROOM", 0):  # a new database begins to count at its beginning
        backup.restore(dump)
    return [node.address for node in nodes]
