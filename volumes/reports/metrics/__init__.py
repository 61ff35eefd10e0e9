"""What /metrics tells of the cluster, read from the rows in a fixed number of queries.

How many samples there are is bounded: by the states of things, by the number of servers, and for
volumes one by one by a setting.
"""

from collections.abc import Iterator

from agents.exposition import MetricFamily, MetricSample, families_of
from volumes.reports import care, protection
from volumes.reports.metrics import (
    capacity_metrics,
    condition_metrics,
    hardware_metrics,
    service_metrics,
    volume_metrics,
    work_metrics,
)


def tell() -> Iterator[MetricSample]:
    """Read everything."""
    weak = protection.weak_volumes()
    resting = care.in_maintenance(care.under_way())
    yield from condition_metrics.tell(weak)
    yield from volume_metrics.tell(weak)
    yield from capacity_metrics.tell()
    yield from hardware_metrics.tell(resting)
    yield from work_metrics.tell()
    yield from service_metrics.tell()


def families() -> list[MetricFamily]:
    """List what may be told."""
    return families_of(
        condition_metrics,
        volume_metrics,
        capacity_metrics,
        hardware_metrics,
        work_metrics,
        service_metrics,
    )
