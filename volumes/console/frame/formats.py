"""Numbers and times as people read them."""

import re
from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from inventory import clock as cluster_clock

NOTHING = "\N{EN DASH}"
"""What is shown where there is nothing to show."""

NAMED = re.compile(r"\b(lvol-[0-9a-f]{8}) (?!(?:to|from|of|on|at)\b)(\S+)")
"""A volume's id with its name behind it, as the subjects of an older version's jobs have it."""

STEP = 1024
FEW = 10
"""GiB of which tenths are told."""
STEPS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size(gb: float) -> str:
    """Write what the API counts in GB, units of 2^30 bytes, as what they are."""
    if gb >= STEP:
        return f"{gb / STEP:.1f} TiB"
    if gb < 1 and gb:
        return f"{gb * STEP:.0f} MiB"
    return f"{gb:.1f} GiB" if gb < FEW and gb % 1 else f"{gb:.0f} GiB"


def span(seconds: float) -> str:
    """Write a length of time in its largest unit or two."""
    left = int(max(0, seconds))
    for place, (length, unit) in enumerate(STEPS):
        if left >= length:
            whole, rest = divmod(left, length)
            following = STEPS[place + 1] if place + 1 < len(STEPS) and whole < 10 else None  # noqa: PLR2004  a second unit tells little beyond
            second = rest // following[0] if following else 0
            return (
                f"{whole} {unit} {second} {following[1]}"
                if second and following
                else f"{whole} {unit}"
            )
    return "0 s"


def clock(seconds: float) -> str:
    """Write a time that is left as minutes and seconds, or hours and minutes."""
    minutes, rest = divmod(int(max(0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes:02}:{rest:02}"


def named_first(subject: str) -> str:
    """Write what a job is about as people call it: names before ids."""
    return NAMED.sub(r"\2 (\1)", subject)


def ago(moment: datetime | None) -> str:
    """Write how long ago something was."""
    if moment is None:
        return "never"
    return f"{age(moment)} ago"


def age(moment: datetime) -> str:
    """Write for how long something has been so, in its largest unit."""
    seconds = int(max(0.0, (timezone.now() - moment).total_seconds()))
    length, unit = next((step for step in STEPS if seconds >= step[0]), STEPS[-1])
    return f"{seconds // length} {unit}"


def lasting(moment: datetime | None) -> SafeString:
    """Show since when something is so, which its row tells by the cluster's clock."""
    return since(moment and cluster_clock.on_the_wall(moment))


def since(moment: datetime | None) -> SafeString:
    """Show how long ago something was, with the moment itself at hand."""
    if moment is None:
        return mark_safe(NOTHING)  # noqa: S308  a constant
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S}",
        ago(moment),
    )
