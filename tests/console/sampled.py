"""Samples of a day by minutes and of some months by hours, as a worker would have taken them."""

import math
from collections.abc import Callable, Mapping

from volumes.console.pages.charts import minute
from volumes.sample_models import ClusterSample, IoSample, Step
from volumes.samples import packing
from volumes.samples.packing import Io

Kind = IoSample.Kind
Objects = Mapping[Kind, list[int]]
FEW: Objects = {
    Kind.VOLUME: [1],
    Kind.HEAD: [1],
    Kind.STORAGE: [1, 2],
    Kind.DISK: [1, 3],
    Kind.CLUSTER: [0],
}


def busy(at: int, number: int) -> Io:
    """A load with the shape of days and of meals."""
    wave = 1.2 + math.sin(at / 229) + 0.3 * math.sin(at / 7 + number)
    reads, writes = 120 * wave, 40 * wave + 10 * math.sin(at / 3) ** 2
    return Io(reads, writes, reads * 16384, writes * 8192, reads * 0.0004, writes * 0.0011)


def fill_samples(
    objects: Objects = FEW,
    *,
    minutes: int = 1440,
    hours: int = 24 * 60,
    load: Callable[[int, int], Io] = busy,
) -> None:
    """Record them until now; used space grows by a GB in four hours."""
    now = minute()
    moments = [(Step.MINUTE, at) for at in range(now - minutes, now)]
    moments += [(Step.HOUR, at) for at in range(now - now % 60 - 60 * hours, now - now % 60, 60)]
    ClusterSample.objects.bulk_create(
        ClusterSample(
            step=step,
            at=at,
            capacity_gb=14_990,
            used_gb=8_000 + (at - now) // 240,
            free_gb=6_000 - (at - now) // 240,
            rebuild_mib=max(0.0, 180 * math.sin(at / 91)),
            shred_mib=40 + 40 * math.sin(at / 45),
            scrub_mib=64,
        )
        for step, at in moments
    )
    IoSample.objects.bulk_create(
        IoSample(kind=kind, shard=shard, step=step, at=at, data=data)
        for step, at in moments
        for kind, numbers in objects.items()
        for shard, data in packing.shards(kind, {n: load(at, n) for n in numbers})
    )
