"""Blocks that differ from one replica to another, and the scrub that finds them."""

from typing import Any

from tests.jobs.conftest import Cluster
from volumes.models import Job, LogicalVolume, Replica


def scrub(four: Cluster, volume: LogicalVolume, rounds: int = 3) -> Job:
    """Scrub a volume from the beginning; its job."""
    four.call("vastsky.scrubVolume", lvolid=volume.pk)
    four.work(rounds)
    return four.job(Job.Kind.SCRUB)


def fill(four: Cluster, volume: LogicalVolume, chunk: int = 0) -> None:
    for replica in four.replicas(volume):
        four.world.write(replica.pk, chunk, 0, ["a", "b", "c"])


def rot(four: Cluster, replica: Replica, digest: str = "evil", chunk: int = 7) -> None:
    four.world.write(replica.pk, chunk, 5, [digest])


def unequal(four: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = four.call("vastsky.listUnequalBlocks")
    return found


def contents(four: Cluster, volume: LogicalVolume, chunk: int = 7) -> set[tuple[str, ...]]:
    return {tuple(four.world.blocks(r.pk, chunk)) for r in four.replicas(volume)}
