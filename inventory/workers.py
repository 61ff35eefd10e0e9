"""Which workers take steps: each has a row, which it touches as it ticks, and leaves at its end."""

import platform
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, QuerySet

from inventory import clock
from inventory.models import Worker

STILL = timedelta(seconds=60)
"""Without a tick, by the cluster's clock, a worker is dead or hangs."""
FORGOTTEN = timedelta(hours=24)
AHEAD = timedelta(seconds=3)
"""By which the clock of one process may be ahead of another's (clock.LEASH)."""


def tick(token: str) -> None:
    """Note that this worker has just looked for work."""
    now = clock.now()
    if not Worker.objects.filter(pk=token).update(at=now, beat=F("beat") + 1):
        Worker.objects.filter(at__lt=now - FORGOTTEN).delete()
        host = platform.node()[:64]
        # One that was killed is this one now.
        Worker.objects.filter(host=host, at__lt=now - STILL).delete()
        Worker.objects.create(
            token=token, host=host, version=settings.VASTSKY_RELEASE, since=now, at=now
        )


def leave(token: str) -> None:
    """Note that this worker ends as it should."""
    Worker.objects.filter(pk=token).delete()


def standing_still(now: datetime) -> QuerySet[Worker]:
    """Select the workers that do not tick, though somebody moves the clock.

    One whose host began another since its last tick was killed, and replaced before it was missed.
    """
    others = Worker.objects.filter(host=OuterRef("host")).exclude(pk=OuterRef("pk"))
    replaced = Exists(others.filter(since__gte=OuterRef("at") - AHEAD))
    return Worker.objects.filter(~replaced, at__lt=now - STILL).order_by("at")
