"""The manager's four processes and what they are told: broker, web, worker, beat."""

import os
import secrets
import sys
from collections.abc import Mapping

from deploy.local import broker
from deploy.local.place import Place

MANAGER = ("broker", "web", "worker", "beat")
"""In the order of starting; they stop in the reverse order."""


def environment(place: Place, policy: Mapping[str, str]) -> dict[str, str]:
    """Tell Django and Celery this cluster's places, over what the caller's shell says."""
    ours = {
        "VASTSKY_HOME": str(place.home),
        "VASTSKY_HEAD_AGENT_PORT": str(place.head_port),
        "VASTSKY_STORAGE_AGENT_PORT": str(place.storage_port),
        "REDIS_URL": place.broker_url,
        "PYTHONUNBUFFERED": "1",
        **policy,
    }
    return {**os.environ, **ours}


def command(place: Place, part: str) -> list[str]:
    """Write the command line of one of the four."""
    celery = [sys.executable, "-m", "celery", "-A", "vastsky_site"]
    if part == "broker":
        return broker.command(place)
    if part == "web":
        return [sys.executable, "-m", "vastsky_site.serve", "--port", str(place.port)]
    if part == "worker":
        return [*celery, "worker", "-P", "threads", "-c", "8"]
    schedule = str(place.home / "beat-schedule")
    return [*celery, "beat", "--schedule", schedule, "--pidfile="]


def admin_password(place: Place) -> str:
    """Read the administrator's password; it is made, for this user only, at first use."""
    path = place.home / "admin-password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(9))
    return path.read_text()
