"""What was measured, as charts show it: some hundred points, in a fixed number of queries."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from django.db.models import Min

from volumes.sample_models import ClusterSample, IoSample, Step
from volumes.samples import packing
from volumes.samples.packing import Io, Space

Kind = IoSample.Kind
HOUR, DAY = 60, 24 * 60
SPARK = 3
"""Minutes from point to point of a sparkline, which shows an hour."""
MEANS = ("capacity_gb", "used_gb", "free_gb", "rebuild_mib", "shred_mib", "scrub_mib")


class Span(StrEnum):
    """How far back a chart goes."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Scale:
    """What a chart is made of: samples of a step, `point` minutes of which are a point of it."""

    step: Step
    minutes: int
    point: int

    def points(self, now: int) -> range:
        """Name the points until now, in minutes since 1970."""
        end = now - now % self.point + (self.point if now % self.point else 0)
        return range(end - self.minutes, end, self.point)


SCALES: Mapping[Span, Scale] = {
    Span.HOUR: Scale(Step.MINUTE, HOUR, 1),
    Span.DAY: Scale(Step.MINUTE, DAY, 5),
    Span.MONTH: Scale(Step.HOUR, 30 * DAY, 2 * HOUR),
    Span.YEAR: Scale(Step.HOUR, 365 * DAY, DAY),
}


@dataclass(frozen=True, slots=True)
class Series:
    """What a chart shows of I/O: None where nothing was measured."""

    at: range
    points: list[Io | None]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was measured in all this time."""
        return not any(self.points)


def of(kind: IoSample.Kind, number: int, span: Span, now: int) -> Series:
    """Read what was asked of one object; one query."""
    scale = SCALES[span]
    at = scale.points(now)
    rows = IoSample.objects.filter(
        kind=kind,
        shard=packing.shard_of(kind, number),
        step=scale.step,
        at__gte=at.start,
        at__lt=at.stop,
    )
    found: dict[int, list[Io]] = {}
    for moment, data in rows.values_list("at", "data"):
        if io := packing.find(bytes(data), number):
            found.setdefault((moment - at.start) // scale.point, []).append(io)
    return Series(at, [_mean(found.get(place)) for place in range(len(at))])


SPACES = {Kind.STORAGE: Kind.STORAGE_SPACE, Kind.DISK: Kind.DISK_SPACE}
"""Of what space is kept, and as which kind."""


def of_space(
    kind: IoSample.Kind, number: int, span: Span, now: int
) -> dict[str, list[float | None]]:
    """Read the space of a storage server or disk; one query."""
    points = [io and Space.read(io) for io in of(SPACES[kind], number, span, now).points]
    return {name: [one and getattr(one, name) for one in points] for name in Space._fields}


def of_cluster(span: Span, now: int) -> dict[str, list[float | None]]:
    """Read space and work of the cluster; one query."""
    scale = SCALES[span]
    at = scale.points(now)
    rows = ClusterSample.objects.filter(step=scale.step, at__gte=at.start, at__lt=at.stop)
    found: dict[int, list[tuple[float, ...]]] = {}
    for moment, *values in rows.values_list("at", *MEANS):
        found.setdefault((moment - at.start) // scale.point, []).append(tuple(values))
    means = [
        tuple(map(fmean, zip(*found[place], strict=True))) if place in found else None
        for place in range(len(at))
    ]
    return {name: [mean[n] if mean else None for mean in means] for n, name in enumerate(MEANS)}


def begins() -> int | None:
    """Tell since when anything is measured, in minutes since 1970."""
    first: int | None = ClusterSample.objects.aggregate(at=Min("at"))["at"]
    return first


def sparks(
    kind: IoSample.Kind, numbers: Collection[int], now: int
) -> dict[int, list[float | None]]:
    """Read requests a second of some minutes of the last hour, of several objects; one query."""
    at = range(now - HOUR, now, SPARK)
    where = {number: packing.shard_of(kind, number) for number in numbers}
    rows = IoSample.objects.filter(
        kind=kind, shard__in=set(where.values()), step=Step.MINUTE, at__in=at
    )
    told: dict[int, list[tuple[int, bytes]]] = {}
    for shard, moment, data in rows.values_list("shard", "at", "data"):
        told.setdefault(shard, []).append((moment, bytes(data)))
    found = {number: _spark(number, told.get(shard, ())) for number, shard in where.items()}
    return {
        number: [values.get(moment) for moment in at] for number, values in found.items() if values
    }


def _spark(number: int, rows: Iterable[tuple[int, bytes]]) -> dict[int, float]:
    samples = ((moment, packing.find(data, number)) for moment, data in rows)
    return {moment: io.reads + io.writes for moment, io in samples if io}


def _mean(samples: list[Io] | None) -> Io | None:
    return Io(*map(fmean, zip(*samples, strict=True))) if samples else None


# -- how long the room lasts ----------------------------------------------------------------------


LOOKED_BACK = 30 * DAY
SHORTEST = DAY
"""Minutes of figures without which nothing is foretold."""


def days_to_full(now: int) -> float | None:
    """Foretell when nothing is free if it goes on as in the last 30 days; None where it does not.

    The line of least squares through what was used, at every hour; one query.
    """
    rows = ClusterSample.objects.filter(step=Step.HOUR, at__gte=now - LOOKED_BACK).order_by("at")
    told = list(rows.values_list("at", "used_gb", "free_gb"))
    if len(told) < 2 or told[-1][0] - told[0][0] < SHORTEST:  # noqa: PLR2004 - a line needs two
        return None
    days = [at / DAY for at, _, _ in told]
    used = [float(gb) for _, gb, _ in told]
    growth = _slope(days, used)
    return told[-1][2] / growth if growth > 0 else None


def _slope(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = fmean(x), fmean(y)
    square = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / square
