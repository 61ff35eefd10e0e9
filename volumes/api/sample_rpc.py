"""The method of the API that tells what was measured over time."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from django.utils import timezone

from inventory.errors import Invalid
from volumes.sample_models import IoSample
from volumes.samples import history
from volumes.samples.history import Span
from volumes.samples.packing import Io

Kind = IoSample.Kind


def samples(
    *,
    lvolid: int = 0,
    hsvrid: int = 0,
    ssvrid: int = 0,
    pdskid: int = 0,
    span: Annotated[str, 8] = "hour",
) -> list[dict[str, Any]]:
    """Return what was asked of a volume, head, storage server or disk a second, oldest first.

    Of the cluster where no id is given. The span is an hour, a day, a month or a year back; what
    was not measured is left out.
    """
    wanted = {
        Kind.VOLUME: lvolid,
        Kind.HEAD: hsvrid,
        Kind.STORAGE: ssvrid,
        Kind.DISK: pdskid,
    }
    named = [(kind, number) for kind, number in wanted.items() if number] or [(Kind.CLUSTER, 0)]
    if len(named) > 1:
        raise Invalid("one of lvolid, hsvrid, ssvrid and pdskid is wanted, or none")
    if span not in list(Span):
        raise Invalid(f"a span is {', '.join(Span)}, not {span!r}")
    series = history.of(*named[0], Span(span), int(timezone.now().timestamp() // 60))
    return [_sample(at, io) for at, io in zip(series.at, series.points, strict=True) if io]


def _sample(minute: int, io: Io) -> dict[str, Any]:
    return {
        "time": f"{datetime.fromtimestamp(60 * minute, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "reads": io.reads,
        "writes": io.writes,
        "read_bytes": io.read_bytes,
        "write_bytes": io.write_bytes,
        "read_ms": io.read_ms or 0.0,
        "write_ms": io.write_ms or 0.0,
        "queue": io.queue,
    }


PROCEDURES: dict[str, Callable[..., Any]] = {"vastsky.samples": samples}
