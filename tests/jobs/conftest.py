"""A cluster of simulated nodes, registered through the API, with jobs run by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.version import VERSION
from inventory.models import Disk, Extent, StorageServer
from tests.contract.api import Api, add_disk, zero_everything
from tests.jobs.disk_shelf import Shelf
from tests.jobs.simulated_head import Head
from tests.jobs.simulated_storage import Storage
from tests.jobs.simulator import SimulatedWorld, simulated_world
from volumes.attach import attach as attachment
from volumes.attach import detach as detachment
from volumes.jobs import queue, wakeup
from volumes.models import Attachment, Job, LogicalVolume, Mirror, Replica
from volumes.repair import grace
from volumes.worker import reconcile, runner


class Cluster:
    """The API, the simulated machines, and hands to move jobs and time."""

    def __init__(self, api: Api, world: SimulatedWorld) -> None:
        self.call = api
        self.world = world

    def add_storage(self, disks: int = 1, gb: int = 100, **about: str) -> Storage:
        node = self.world.new_storage()
        about.setdefault("version", VERSION)
        node.server_id = self.call("registerStorageServer", ip_data=[node.address], **about)
        self.world.storages[node.server_id] = node
        for number in range(disks):
            add_disk(self.call, node.server_id, f"/disk/{node.address}/{number}", gb)
        zero_everything()
        return node

    def add_head(self) -> Head:
        node = self.world.new_head()
        node.server_id = self.call("registerHeadServer", ip_data=[node.address], version=VERSION)
        self.world.heads[node.server_id] = node
        return node

    def create(self, name: str = "data", gb: int = 5, **more: Any) -> LogicalVolume:
        lvolid = self.call("createLogicalVolume", lvolname=name, capacity=gb, **more)
        return LogicalVolume.objects.get(pk=lvolid)

    def attach(self, volume: LogicalVolume, head: Head) -> None:
        self.call("attachLogicalVolume", lvolid=volume.pk, hsvrid=head.server_id)

    def detach(self, volume: LogicalVolume) -> None:
        self.call("detachLogicalVolume", lvolid=volume.pk)

    def begin_attach(self, volume: LogicalVolume, head: Head) -> Job:
        return attachment.request_attach(volume, head.server_id)

    def begin_detach(self, volume: LogicalVolume) -> Job:
        job = detachment.request_detach(volume)
        assert job is not None
        return job

    def state(self, volume: LogicalVolume) -> str:
        row = Attachment.objects.filter(volume=volume).first()
        return row.state if row else "detached"

    def replicas(self, volume: LogicalVolume, *statuses: Replica.Status) -> list[Replica]:
        replicas = Replica.objects.filter(mirror__volume=volume).order_by("pk")
        return list(replicas.filter(status__in=statuses) if statuses else replicas)

    def mirror(self, volume: LogicalVolume) -> Mirror:
        return Mirror.objects.get(volume=volume)

    def node_of(self, replica: Replica) -> Storage:
        return self.world.storages[replica.server_id]

    def work(self, rounds: int = 1) -> None:
        """Take the steps of all open jobs, as if time had passed in between."""
        for _ in range(rounds):
            Job.objects.filter(state=Job.State.OPEN).update(due=timezone.now())
            for job_id in queue.due_ids(timezone.now(), 1000):
                runner.run_job(job_id)

    def hang_up(self) -> None:
        """Close the database connection of this thread."""
        connections.close_all()

    def reconcile(self) -> None:
        """Ask all nodes, and let a moment pass: what was asked then is surely later than before."""
        reconcile.reconcile()
        heard = F("last_answer") + 2 * grace.APART
        StorageServer.objects.filter(silent_since=None).update(last_answer=heard)

    def silence(self, node: Storage, seconds: int) -> None:
        """Let a storage server be dead, and have been silent for so long."""
        node.die()
        since = timezone.now() - timedelta(seconds=seconds)
        StorageServer.objects.filter(pk=node.server_id).update(
            silent_since=since, last_answer=since
        )

    def comes_back(self, node: Storage) -> None:
        """Let a storage server that was out start and register again, with its disks."""
        node.start()
        self.call("registerStorageServer", ip_data=[node.address], version=VERSION)
        for disk in Disk.objects.filter(server=node.server_id):
            capacity = str(disk.capacity_gb << 21)
            self.call(
                "registerPhysicalDisk",
                ssvrid=node.server_id,
                local_path=disk.local_path,
                capacity=capacity,
            )

    def job(self, kind: Job.Kind) -> Job:
        return Job.objects.filter(kind=kind).latest("pk")

    def free_gb(self) -> int:
        return sum(Extent.objects.filter(status=2).values_list("size_gb", flat=True))

    def disk_at(self, node: Storage) -> Disk:
        """The only disk of a storage server."""
        return Disk.objects.get(server=node.server_id)

    def extent_of(self, replica: Replica) -> Extent:
        return Extent.objects.get(pk=replica.pk)

    def disk_of(self, replica: Replica) -> Disk:
        return Extent.objects.select_related("disk").get(pk=replica.pk).disk


@contextmanager
def _simulated_cluster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)
    with simulated_world() as world:
        settings.VASTSKY_HEAD_AGENT_PORT = world.head_port
        settings.VASTSKY_STORAGE_AGENT_PORT = world.storage_port
        yield Cluster(Api(Client(raise_request_exception=True)), world)


@pytest.fixture
def cluster(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with _simulated_cluster(settings, monkeypatch) as cluster:
        yield cluster


@pytest.fixture
def racing_four(
    transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """Four storage servers and two heads, with real transactions for threads."""
    with _simulated_cluster(settings, monkeypatch) as cluster:
        for _ in range(4):
            cluster.add_storage()
        for _ in range(2):
            cluster.add_head()
        yield cluster


@pytest.fixture
def four(cluster: Cluster) -> Cluster:
    """Four storage servers with one empty disk each, and one head."""
    for _ in range(4):
        cluster.add_storage()
    cluster.add_head()
    return cluster


@pytest.fixture
def disks(cluster: Cluster) -> Shelf:
    """Four storage servers, three of which have a disk with a label, and one head."""
    shelf = Shelf(cluster)
    for name in ("disk-1", "disk-2", "disk-3", ""):
        node = cluster.add_storage(disks=0)
        if name:
            shelf.put_in(name, node)
    zero_everything()
    cluster.add_head()
    return shelf


@pytest.fixture
def head(four: Cluster) -> Head:
    return next(iter(four.world.heads.values()))


@pytest.fixture
def volume(four: Cluster, head: Head) -> LogicalVolume:
    """A volume that is attached to the head."""
    volume = four.create()
    four.attach(volume, head)
    return volume


@pytest.fixture
def idle(four: Cluster, head: Head) -> LogicalVolume:
    """A volume that was attached and detached cleanly."""
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    return volume


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Where a backup is written to."""
    return tmp_path / "dump.gz"


def spare(four: Cluster) -> int:
    """The server that holds no replica of the only volume."""
    held = set(Replica.objects.values_list("server", flat=True))
    (free,) = set(four.world.storages) - held
    return free


@pytest.fixture(params=["attached", "detached"])
def used(request: pytest.FixtureRequest, four: Cluster, head: Head) -> LogicalVolume:
    """A volume in three replicas with something in it."""
    volume = four.create()
    four.attach(volume, head)
    if request.param == "detached":
        four.detach(volume)
    for replica in four.replicas(volume):
        four.world.write(replica.pk, 0, 0, ["a", "b", "c"])
    return volume


@pytest.fixture(params=["attached", "detached"])
def pair(request: pytest.FixtureRequest, four: Cluster, head: Head) -> LogicalVolume:
    """A volume in two replicas."""
    volume = four.create(redundancy=2)
    four.attach(volume, head)
    if request.param == "detached":
        four.detach(volume)
    return volume
