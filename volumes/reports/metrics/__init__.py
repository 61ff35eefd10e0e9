"""What /metrics tells of the cluster, read from the rows in a fixed number of queries.

How many samples there are is bounded: by the states of things, by the number of servers, and for
volumes one by one by a setting.
"""

from collections.abc import Iterator

from agents.exposition import MetricFamily, MetricSample, families_of
from volumes.reports import care, protection
from volumes.reports.metrics import capacity, condition, hardware, service, volumes, work


def tell() -> Iterator[MetricSample]:
    """Read everything."""
    weak = protection.weak_volumes()
    resting = care.in_maintenance(care.under_way())
    yield from condition.tell(weak)
    yield from volumes.tell(weak)
    yield from capacity.tell()
    yield from hardware.tell(resting)
    yield from work.tell()
    yield from service.tell()


def families() -> list[MetricFamily]:
    """List what may be told."""
    return families_of(condition, volumes, capacity, hardware, work, service)
