"""When a server is called silent, and which of those that would be up are."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q

from inventory import clock
from inventory.models import USABLE


def limit() -> datetime:
    """Tell since when a server must have been quiet to be called silent."""
    return clock.now() - timedelta(seconds=settings.VASTSKY_SUSPECT_SECONDS)


def of_usable() -> Q:
    """Choose the servers that would take new data, but do not answer."""
    return Q(silent_since__lte=limit(), priority__in=USABLE)
