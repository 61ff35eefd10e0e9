"""What charts are made of: the figures of one object over time, as JSON."""

from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from django.utils import timezone

from volumes.console.frame.formats import span
from volumes.console.frame.page import viewing
from volumes.sample_models import IoSample
from volumes.samples import history
from volumes.samples.history import Span

Kind = IoSample.Kind
MEASURED = (Kind.VOLUME, Kind.HEAD, Kind.STORAGE, Kind.DISK, Kind.CLUSTER)
FAR = 5 * 365

FIGURES = ("reads", "writes", "read_bytes", "write_bytes", "read_ms", "write_ms", "queue")


@viewing
def figures(request: HttpRequest, kind: str, number: int) -> JsonResponse:
    """Tell what was measured of an object within the span that is asked for."""
    if kind not in MEASURED or request.GET.get("span", Span.HOUR) not in list(Span):
        raise Http404("nothing of that kind is measured")
    chosen = Span(request.GET.get("span", Span.HOUR))
    now = minute()
    series = history.of(Kind(kind), number, chosen, now)
    told: dict[str, list[float | None]] = {
        name: [_rounded(getattr(io, name)) if io else None for io in series.points]
        for name in FIGURES
    }
    if kind == Kind.CLUSTER:
        told |= history.of_cluster(chosen, now)
    if kind in history.SPACES:
        told |= history.of_space(Kind(kind), number, chosen, now)
    begins = history.begins()
    answer = {
        "span": chosen,
        "at": [60 * at for at in series.at],
        "begins": begins and 60 * begins,
        "figures": told,
        "foretold": _until_full(now) if kind == Kind.CLUSTER else "",
    }
    return JsonResponse(answer)


def minute() -> int:
    """Tell which minute it is, counted since 1970."""
    return int(timezone.now().timestamp() // 60)


def sparks(kind: Kind, numbers: list[int]) -> dict[int, Any]:
    """Read what sparklines show of the rows of a page; one query."""
    return history.sparks(kind, numbers, minute())


def _until_full(now: int) -> str:
    """Say when nothing will be free; nothing where that is not to be foretold."""
    days = history.days_to_full(now)
    if days is None:
        return ""
    when = f"in about {span(days * 86400)}" if days >= 1 else "within a day"
    if days > FAR:
        when = "in more than five years"
    return f"Space is full {when} if it goes on as in the last 30 days."


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else float(f"{figure:.4g}")
