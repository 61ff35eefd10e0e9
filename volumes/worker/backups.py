"""Keep the last backups in a folder: one a day, by the worker that looks after the nodes."""

import logging
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from inventory.models import Cluster
from volumes.integrity import backup

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=24)
PATTERN = "vastsky-*.backup"


def keep() -> Path | None:
    """Write a backup if one is due, and drop the oldest beyond those that are kept.

    Where that fails it is tried again; the console complains once the last one is too old.
    """
    folder = Path(settings.VASTSKY_BACKUP_FOLDER)
    if not settings.VASTSKY_BACKUPS_KEPT or not _is_due(folder):
        return None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"vastsky-{timezone.now():%Y%m%dT%H%M%S}.backup"
    what = backup.write(path)
    logger.info("backup %s: %s", path, what)
    for older in sorted(folder.glob(PATTERN))[: -settings.VASTSKY_BACKUPS_KEPT]:
        older.unlink()
    return path


def _is_due(folder: Path) -> bool:
    last = Cluster.objects.filter(pk=1).values_list("backed_up", flat=True).first()
    if last is None:
        return False  # nothing is here yet
    return timezone.now() - last > EVERY or not any(folder.glob(PATTERN))
