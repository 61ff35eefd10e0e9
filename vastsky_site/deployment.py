"""What `manage.py check --deploy` tries out: all that a manager connects to and keeps files in.

Each finding says how to mend it, and has an id that stays. Nothing is changed by looking.
"""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DatabaseError, InterfaceError, connection

from agents.identity import Identity
from agents.ondisk import GB
from inventory import own_certificates
from inventory.command_line import manage
from inventory.own_certificates import OwnCertificate
from vastsky_site import health
from volumes.jobs import broker

SKEW_SECONDS = 1.0
FULL = 0.95

Findings = Iterator[checks.CheckMessage]


@checks.register("deployment", deploy=True)
def check_surroundings(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """Try database, broker, certificates, disk space and permissions."""
    parts = (_database, _broker, _certificates, _room, _permissions)
    return [finding for part in parts for finding in part()]


def _database() -> Findings:
    try:
        missing = health.unapplied()
        skew = _skew()
    except (DatabaseError, InterfaceError) as error:
        yield checks.Error(
            f"The database does not answer: {_line(error)}",
            hint="Start it, or mend DATABASE_URL: postgresql://user:password@host/name.",
            id="vastsky.E010",
        )
        return
    if missing:
        yield checks.Error(
            f"The database has not seen {len(missing)} migrations, {missing[0]} is the first.",
            hint=f"Make a backup, stop the manager, then `{manage('migrate')}`.",
            id="vastsky.E011",
        )
    if abs(skew) > SKEW_SECONDS:
        yield checks.Warning(
            f"This machine's clock is {skew:+.1f} s off the database's.",
            hint="Have both follow a time server (chrony or systemd-timesyncd).",
            id="vastsky.W012",
        )
    if settings.VASTSKY_PRODUCTION and connection.vendor == "sqlite":
        yield checks.Warning(
            "The database is SQLite: there can be one manager, on this machine, and no second.",
            hint="Set DATABASE_URL to a PostgreSQL database.",
            id="vastsky.W013",
        )


def _skew() -> float:
    """Tell by how many seconds our clock is ahead of the database's; SQLite has ours."""
    if connection.vendor != "postgresql":
        return 0.0
    with connection.cursor() as cursor:
        before = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        theirs = float(cursor.fetchone()[0])
        return (before + time.time()) / 2 - theirs


def _broker() -> Findings:
    if why := broker.why_silent():
        yield checks.Error(
            f"The broker does not answer: {why}.",
            hint="Start Redis, or mend REDIS_URL: redis://:password@host:6379/0.",
            id="vastsky.E014",
        )


# -- certificates ---------------------------------------------------------------------------------


def _certificates() -> Findings:
    identity = settings.VASTSKY_IDENTITY
    if identity is None:
        yield checks.Warning(
            "There is no certificate: agents on other machines obey nobody without one.",
            hint=f"`{manage('certificate manager ADDRESS --manager')}`, then"
            " VASTSKY_TLS_CERTIFICATE, _KEY and _AUTHORITY (docs/access.md).",
            id="vastsky.W015",
        )
        return
    ending = own_certificates.ending()
    for one in ending:
        yield _ending(one, own_certificates.how_to_mend(one, ending))
    yield from _key(identity)


def _ending(one: OwnCertificate, mend: str) -> checks.CheckMessage:
    hint = f"{mend[0].upper()}{mend[1:]}."
    if one.left < timedelta():
        text = f"{one.path} was valid until {one.end:%Y-%m-%d %H:%M} UTC: no node talks to us."
        return checks.Error(text, hint=hint, id="vastsky.E016")
    text = f"{one.path} is valid for {one.left.days} more days, until {one.end:%Y-%m-%d}."
    return checks.Warning(text, hint=hint, id="vastsky.W017")


def _key(identity: Identity) -> Findings:
    try:
        mode = identity.key.stat().st_mode
    except OSError:
        return  # vastsky.E008 says so
    if mode & 0o077:
        yield checks.Error(
            f"{identity.key} can be read by others: they could give orders to all nodes.",
            hint=f"chmod 600 {identity.key}",
            id="vastsky.E018",
        )


# -- files ----------------------------------------------------------------------------------------


def _room() -> Findings:
    for folder in _folders():
        usage = shutil.disk_usage(folder)
        if usage.free < GB or usage.used > FULL * usage.total:
            yield checks.Warning(
                f"{folder} has {usage.free / GB:.1f} GiB left of {usage.total / GB:.0f} GiB.",
                hint="Make room, or set VASTSKY_HOME or VASTSKY_BACKUP_FOLDER elsewhere.",
                id="vastsky.W019",
            )


def _permissions() -> Findings:
    for folder in _folders():
        if not os.access(folder, os.W_OK | os.X_OK):
            yield checks.Error(
                f"{folder} cannot be written by the user that runs this check.",
                hint="Run the manager, and its commands, as the user who owns it.",
                id="vastsky.E020",
            )


def _folders() -> set[Path]:
    """Name where files are kept; of the backups' folder, made when needed, what is there of it."""
    backups = Path(settings.VASTSKY_BACKUP_FOLDER)
    existing = next(one for one in (backups, *backups.parents) if one.exists())
    return {settings.VASTSKY_HOME, existing}


def _line(error: BaseException) -> str:
    """Say an error's first line: what comes below is for who knows the library."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
