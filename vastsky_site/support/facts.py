"""What a support bundle says in words: versions, settings, migrations, checks, fsck, problems."""

import platform
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata

import django
from django.core import checks
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from agents.version import VERSION
from inventory import recovery
from inventory.models import HeadServer, StorageServer
from inventory.servers import cluster
from vastsky_site.pages import settings_page
from volumes.integrity import fsck
from volumes.reports import protection, verdict


def versions() -> Iterator[str]:
    """Tell what runs here, and on how many nodes."""
    yield f"manager {VERSION}"
    yield f"Python {sys.version}"
    yield f"Django {django.__version__}"
    yield f"system {platform.platform()}"
    yield f"database {_database()}"
    yield str(cluster())
    yield f"recovery mode: {recovery.why() or 'no'}"
    for kind in (StorageServer, HeadServer):
        counts = Counter(kind.objects.values_list("version", flat=True))
        for version, count in sorted(counts.items()):
            yield f"{kind.__name__}: {count} of {version or 'before 5.1'}"
    for one in sorted(metadata.distributions(), key=lambda one: str(one.name).lower()):
        yield f"package {one.name} {one.version}"


def settings() -> Iterator[str]:
    """Tell every setting, as the page of settings does."""
    for one in settings_page.shown():
        by = f"by {one.set_by}" if one.set_by else "default"
        yield f"{one.setting.name}={one.value}  # {by}"


def migrations() -> Iterator[str]:
    """Tell which migrations this database has."""
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        yield f"{app}.{name}"


def deployment() -> Iterator[str]:
    """Tell what `manage.py check --deploy` finds."""
    return map(str, checks.run_checks(include_deployment_checks=True))


def violations() -> Iterator[str]:
    """Tell what `manage.py fsck` finds."""
    return fsck.violations()


def problems() -> Iterator[str]:
    """Tell the verdict, and what is wrong by cause."""
    found = verdict.find(protection.weak_volumes())
    yield f"verdict: {verdict.judge(found.wrong)}"
    known = [card for card, _ in found.known]
    for said, cards in (("", found.told), ("acknowledged: ", known)):
        for card in cards:
            victims = ", ".join(one.text for one in card.victims)
            yield f"{said}{card.risk.name}: {card.problem.title}: {card.problem.cause} [{victims}]"


def _database() -> str:
    with connection.cursor() as cursor:
        sqlite = connection.vendor == "sqlite"
        cursor.execute("SELECT sqlite_version()" if sqlite else "SELECT version()")
        return f"{connection.vendor} {cursor.fetchone()[0]}"
