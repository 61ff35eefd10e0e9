"""Every minute the manager asks all nodes what was asked of them, and keeps it for charts."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.io_figures import IoFigures, VolumeOnHead, Way
from inventory.models import Disk, Extent
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.models import LogicalVolume, Replica
from volumes.sample_models import ClusterSample, IoSample, ShownVolume, Step
from volumes.samples import packing, sampler
from volumes.samples.packing import Io
from volumes.samples.sampler import Sampler

NOON = datetime(2026, 3, 4, 12, 0, 2, tzinfo=UTC)
MINUTE = int(NOON.timestamp()) // 60
Kind = IoSample.Kind


class Clock:
    """The wall clock and the monotonic one, which go on together."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return 1000 + self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(sampler, "timezone", clock)
    monkeypatch.setattr(sampler, "time", clock)
    return clock


@pytest.fixture
def used(four: Cluster) -> tuple[Head, LogicalVolume]:
    head = four.add_head()
    volume = four.create()
    four.attach(volume, head)
    return head, volume


def _read(kind: Kind, number: int, at: int, step: Step = Step.MINUTE) -> Io | None:
    shard = packing.shard_of(kind, number)
    row = IoSample.objects.filter(kind=kind, shard=shard, step=step, at=at).first()
    return packing.find(bytes(row.data), number) if row else None


def test_a_minute_tells_what_was_asked_a_second(
    used: tuple[Head, LogicalVolume], clock: Clock
) -> None:
    head, volume = used
    head.figures = [IoFigures(volume.pk, 100, 409_600, 7, 7_000, 10, 40_960, 1, 2_000)]
    ours = Sampler()
    ours.look()

    clock.passed = 60
    # 600 reads of 4 KiB, of which 30 were timed: 2 ms each; 60 writes, 3 ms each.
    head.figures = [IoFigures(volume.pk, 700, 2_867_200, 37, 67_000, 70, 286_720, 5, 14_000)]
    ours.look()

    expected = Io(10.0, 1.0, 40_960.0, 4_096.0, 0.02, 0.003)
    for kind, number in (
        (Kind.VOLUME, volume.pk),
        (Kind.HEAD, head.server_id),
        (Kind.CLUSTER, 0),
    ):
        assert _read(kind, number, MINUTE) == pytest.approx(expected, rel=0.005), kind


def test_a_minute_tells_what_is_used_of_each_server_and_disk(
    used: tuple[Head, LogicalVolume], clock: Clock
) -> None:
    replica = Replica.objects.select_related("extent__disk").earliest("pk")
    disk = replica.extent.disk
    ours = Sampler()
    ours.look()

    clock.passed = 60
    ours.look()

    busy = Extent.objects.filter(disk=disk, status=Extent.Status.BUSY)
    used_gb = sum(busy.values_list("size_gb", flat=True))
    assert used_gb > 0
    expected = Io(used_gb, disk.capacity_gb)
    assert _read(Kind.DISK_SPACE, disk.pk, MINUTE) == pytest.approx(expected, rel=0.005)
    others = Disk.objects.filter(server=disk.server_id).values_list("pk", "capacity_gb")
    whole = Extent.objects.filter(disk__server=disk.server_id, status=Extent.Status.BUSY)
    expected = Io(
        sum(whole.values_list("size_gb", flat=True)), sum(capacity for _, capacity in others)
    )
    server = _read(Kind.STORAGE_SPACE, disk.server_id, MINUTE)
    assert server == pytest.approx(expected, rel=0.005)


def test_two_workers_on_one_database_take_a_minute_once(
    used: tuple[Head, LogicalVolume], clock: Clock
) -> None:
    head, volume = used
    both = Sampler(), Sampler()
    for ours in both:
        head.figures = [IoFigures(volume.pk)]
        ours.look()

    clock.passed = 60
    for requests, ours in zip((60, 6000), both, strict=True):
        head.figures = [IoFigures(volume.pk, requests)]
        ours.look()

    assert ClusterSample.objects.count() == 1
    assert _read(Kind.VOLUME, volume.pk, MINUTE) == pytest.approx(Io(1.0), rel=0.005)


def test_an_engine_process_that_was_started_anew_counts_from_nothing(
    used: tuple[Head, LogicalVolume], clock: Clock
) -> None:
    head, volume = used
    ours = Sampler()
    head.figures = [IoFigures(volume.pk, 1_000_000)]
    ours.look()

    clock.passed = 60
    head.figures = [IoFigures(volume.pk, 120)]
    ours.look()

    assert _read(Kind.VOLUME, volume.pk, MINUTE) == pytest.approx(Io(2.0), rel=0.005)


def test_who_does_not_answer_or_is_too_old_has_no_sample(
    used: tuple[Head, LogicalVolume], four: Cluster, clock: Clock
) -> None:
    head, volume = used
    head.refuse["figures"] = (38, "no method 'vastsky.figures' here")
    storage, dead, *_ = four.world.storages.values()
    disk = Disk.objects.get(server=storage.server_id)
    storage.figures = [IoFigures(disk.pk)]
    dead.die()
    ours = Sampler()
    ours.look()

    clock.passed = 60
    storage.figures = [IoFigures(disk.pk, 0, 0, 0, 0, 60, 245_760)]
    ours.look()

    assert _read(Kind.VOLUME, volume.pk, MINUTE) is None
    assert _read(Kind.HEAD, head.server_id, MINUTE) is None
    assert _read(Kind.STORAGE, dead.server_id, MINUTE) is None
    told = Io(0.0, 1.0, 0.0, 4096.0)
    assert _read(Kind.DISK, disk.pk, MINUTE) == pytest.approx(told, rel=0.005)
    assert _read(Kind.STORAGE, storage.server_id, MINUTE) == pytest.approx(told, rel=0.005)


def test_an_hour_is_the_mean_of_its_minutes_and_minutes_go_after_a_day(
    used: tuple[Head, LogicalVolume], clock: Clock
) -> None:
    head, volume = used
    ours = Sampler()
    head.figures = [IoFigures(volume.pk)]
    ours.look()
    requests = 0
    for minute, more in ((1, 60), (2, 180), (61, 0)):
        clock.passed = 60 * minute
        requests += more
        head.figures = [IoFigures(volume.pk, requests)]
        ours.look()

    mean = _read(Kind.VOLUME, volume.pk, MINUTE, Step.HOUR)
    assert mean == pytest.approx(Io(2.0), rel=0.01)
    hour = ClusterSample.objects.get(step=Step.HOUR)
    assert (hour.at, hour.capacity_gb) == (MINUTE, 4 * 100)

    clock.passed = 60 * 60 * 26
    ours.look()
    assert not IoSample.objects.filter(step=Step.MINUTE, at__lt=MINUTE + 60).exists()
    assert IoSample.objects.filter(step=Step.HOUR, at=MINUTE).exists()


def test_the_head_tells_what_snapshots_keep_and_who_has_volumes_open(
    used: tuple[Head, LogicalVolume], four: Cluster, clock: Clock
) -> None:
    head, volume = used
    snapshot = four.call("createSnapshot", origin_lvolid=volume.pk, snapshot_lvolname="s")
    head.shown = [VolumeOnHead(volume.pk, 1, 0, Way.BLOCK), VolumeOnHead(snapshot, 0, 7, Way.BLOCK)]
    head.shown.append(VolumeOnHead(999, 1, 0, Way.SOCKET))  # another life's
    ours = Sampler()
    ours.look()

    clock.passed = 60
    head.shown[1] = VolumeOnHead(snapshot, 2, 12, Way.BLOCK)
    ours.look()

    told = ShownVolume.objects.values_list("volume", "folder", "way", "clients", "held_mib")
    assert set(told) == {
        (volume.pk, "/dev/vas", "block", 1, 0),
        (snapshot, "/dev/vas", "block", 2, 12),
    }


def test_what_is_shredded_in_a_minute_is_told_in_mib_a_second(four: Cluster, clock: Clock) -> None:
    volume = four.create(gb=3)
    four.attach(volume, four.add_head())
    four.detach(volume)
    four.call("deleteLogicalVolume", lvolid=volume.pk)
    ours = Sampler()
    ours.look()

    four.reconcile()
    four.work(3)
    clock.passed = 60
    ours.look()

    sample = ClusterSample.objects.get(step=Step.MINUTE)
    assert sample.shred_mib == pytest.approx(3 * 3 * 1024 / 60)
