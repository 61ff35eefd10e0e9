"""The app that wires the others and keeps the API's tokens."""

from typing import Any

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.utils.module_loading import autodiscover_modules

LIMITS = (
    # Who waits for a lock is told, and comes again; who holds one and hangs loses it.
    "SET lock_timeout = '8s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)


class SiteConfig(AppConfig):
    """Brings the system checks."""

    name = "vastsky_site"
    verbose_name = "Access"

    def ready(self) -> None:
        """Register the checks; they look at the API, which needs all models."""
        autodiscover_modules("checks", "deployment", "reach")
        connection_created.connect(_limit)


def _limit(connection: Any, **_: Any) -> None:
    """Tell PostgreSQL how long locks are waited for and held; SQLite's backend knows by itself."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for limit in LIMITS:
                cursor.execute(limit)
