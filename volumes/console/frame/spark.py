"""A sparkline: an hour of requests a second, as a line of text is high; drawn on the server."""

from collections.abc import Iterator, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from volumes.console.frame.formats import NOTHING

WIDTH, HEIGHT = 96, 24
EDGE = 2
Points = Sequence[float | None]


def spark(points: Points | None) -> SafeString | str:
    """Draw it, with the newest value as a number; a dash where nothing was measured."""
    known = [value for value in points or () if value is not None]
    if not points or not known:
        return NOTHING
    most = max(known)
    lines = (
        (" ".join(f"{x:.0f},{_y(value, most):.1f}" for x, value in run),) for run in _runs(points)
    )
    drawn = format_html_join(
        "",
        '<polyline points="{}" fill="none" stroke="currentColor" stroke-width="1.5"'
        ' stroke-linecap="round" stroke-linejoin="round"/>',
        lines,
    )
    return format_html(
        '<span class="vs-spark-cell"><svg class="vs-spark" viewBox="0 0 {} {}" role="img"'
        ' aria-label="last hour: at most {} requests a second">{}</svg>{}/s</span>',
        WIDTH,
        HEIGHT,
        count(most),
        drawn,
        count(known[-1]),
    )


def count(value: float) -> str:
    """Write how many, with as many digits as tell something."""
    if value >= 10_000:  # noqa: PLR2004 - from here on thousands are enough
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 10 or not value else f"{value:.1f}"  # noqa: PLR2004


def _y(value: float, most: float) -> float:
    return HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value / most if most else 0.0)


def _runs(points: Points) -> Iterator[list[tuple[float, float]]]:
    """Cut the line where nothing was measured; a single point is as long as a dot."""
    apart = WIDTH / max(len(points) - 1, 1)
    run: list[tuple[float, float]] = []
    for place, value in enumerate([*points, None]):
        if value is not None:
            run.append((place * apart, value))
        elif run:
            yield run if len(run) > 1 else [run[0], (run[0][0] + 1, run[0][1])]
            run = []
