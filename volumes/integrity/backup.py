"""All rows of ours as a file, from one moment, and back: the same for both databases.

A file is gzip of lines of JSON: a header, then rows by table, then a checksum of all before it.
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.apps import apps
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model
from django.utils import timezone

from inventory import audit, recovery, servers
from inventory.errors import Invalid
from inventory.models import Cluster
from volumes.integrity.moment import one_moment

VERSION = 1
APPS = ("auth", "inventory", "volumes", "vastsky_site")
LEFT_OUT = frozenset(
    {
        "auth.Permission",
        "auth.User_user_permissions",
        "auth.Group_permissions",
        "volumes.IoSample",
        "volumes.ClusterSample",
    }
)
"""Django makes the first three itself, and nothing of ours uses them. Samples are many, and nothing
hangs on them: those that are there stay."""
ROWS = 500


def write(path: Path) -> str:
    """Write a backup; what it is of. A file that is there stays until the new one is whole."""
    servers.cluster()  # nothing can be written within `one_moment`, not even a new cluster's row
    new = path.with_name(path.name + ".new")
    digest = hashlib.sha256()
    with one_moment(), _private(new) as raw, gzip.open(raw, "wt", encoding="utf-8") as file:
        header = _header()
        for line in (header, *_tables()):
            text = json.dumps(line, default=_text) + "\n"
            digest.update(text.encode())
            file.write(text)
        file.write(json.dumps({"sha256": digest.hexdigest()}) + "\n")
    new.replace(path)
    Cluster.objects.filter(pk=1).update(backed_up=timezone.now())
    return f"cluster {header['cluster']}, incarnation {header['incarnation']}"


def restore(path: Path) -> str:
    """Put a backup in the place of all rows, and begin recovery mode; what it was of.

    Invalid where the file is not whole, or another version of the schema wrote it.
    """
    header, tables = _read(path)
    with transaction.atomic():
        for model in reversed(_models()):
            # Without Django's own care for references, which the database has as well.
            every = model._default_manager.all()  # noqa: SLF001 - Django documents it
            every._raw_delete(every.db)  # noqa: SLF001
        for model, columns, rows in tables:
            _load(model, columns, rows)
        _reset_sequences()
        servers.cluster()
        recovery.leave()
        taken = f"{datetime.fromisoformat(header['taken']):%Y-%m-%d %H:%M} UTC"
        recovery.enter(f"a backup of {taken} that was restored, older than its nodes")
        recovery.leave_room("volume")
        audit.record(audit.Action.RESTORE, "cluster", f"backup of {header['taken']}")
    return f"backup of {header['taken']}, incarnation {header['incarnation']}"


def taken(path: Path) -> datetime:
    """Tell when a backup was taken, by its header."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return datetime.fromisoformat(json.loads(file.readline())["taken"])


def _private(path: Path) -> BinaryIO:
    """Open a file that nobody else may read: tokens and people are in it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _text(value: Any) -> str:
    """Write a moment in full, and all else that JSON does not know, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _header() -> dict[str, Any]:
    cluster = servers.cluster()
    return {
        "vastsky": "backup",
        "version": VERSION,
        "taken": timezone.now().isoformat(),
        "cluster": str(cluster.uuid),
        "incarnation": cluster.incarnation,
        "migrations": _migrations(),
    }


def _migrations() -> list[str]:
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in applied if app in APPS)


def _models() -> list[type[Model]]:
    """Name all tables of ours, those first that others refer to."""
    every = [
        model
        for app in APPS
        for model in apps.get_app_config(app).get_models(include_auto_created=True)
        if model._meta.label not in LEFT_OUT  # noqa: SLF001 - Django documents it
    ]
    ordered: list[type[Model]] = []
    while len(ordered) < len(every):
        ordered += [m for m in every if m not in ordered and _needs(m, every) <= set(ordered)]
    return ordered


def _needs(model: type[Model], every: Iterable[type[Model]]) -> set[Any]:
    fields = model._meta.concrete_fields  # noqa: SLF001 - Django documents it
    referred: set[Any] = {field.related_model for field in fields}
    return referred.intersection(every) - {model}


def _tables() -> Iterator[dict[str, Any]]:
    for model in _models():
        fields = [f.attname for f in model._meta.concrete_fields]  # noqa: SLF001 - documented
        rows = model._default_manager.order_by("pk").values_list(*fields)  # noqa: SLF001
        part: list[Any] = []
        for row in rows.iterator(ROWS):
            part.append(row)
            if len(part) == ROWS:
                yield _lines(model, fields, part)
                part = []
        if part:
            yield _lines(model, fields, part)


def _lines(model: type[Model], columns: list[str], rows: list[Any]) -> dict[str, Any]:
    return {"table": model._meta.label, "columns": columns, "rows": list(rows)}  # noqa: SLF001


def _read(path: Path) -> tuple[dict[str, Any], list[tuple[type[Model], list[str], list[Any]]]]:
    """Read a backup as a whole, and check it before anything is changed."""
    digest, lines = hashlib.sha256(), []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            *texts, last = file.readlines()
        for text in texts:
            digest.update(text.encode())
            lines.append(json.loads(text))
        whole = json.loads(last) == {"sha256": digest.hexdigest()}
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Invalid(f"{path} is no backup that can be read: {error}") from None
    if not whole or not lines or lines[0].get("vastsky") != "backup":
        raise Invalid(f"{path} is no whole backup: its checksum is another")
    header, *parts = lines
    if header["version"] > VERSION:
        raise Invalid(f"{path} is of version {header['version']}, and {VERSION} is known here")
    if header["migrations"] != _migrations():
        raise Invalid(f"{path} was written by another version: restore it with that, then upgrade")
    return header, [(apps.get_model(p["table"]), p["columns"], p["rows"]) for p in parts]


def _load(model: type[Model], columns: list[str], rows: list[Any]) -> None:
    meta = model._meta  # noqa: SLF001 - Django documents it
    fields = {field.attname: field for field in meta.concrete_fields}
    objects = [
        model(**{name: fields[name].to_python(v) for name, v in zip(columns, row, strict=True)})
        for row in rows
    ]
    born = [f for f in meta.concrete_fields if getattr(f, "auto_now_add", False)]
    kept = [[getattr(one, field.attname) for field in born] for one in objects]
    manager = model._default_manager  # noqa: SLF001 - Django documents it
    manager.bulk_create(objects, batch_size=ROWS)
    if born:  # what is created now was made then
        for one, moments in zip(objects, kept, strict=True):
            for field, moment in zip(born, moments, strict=True):
                setattr(one, field.attname, moment)
        manager.bulk_update(objects, [field.name for field in born], batch_size=ROWS)


def _reset_sequences() -> None:
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), _models()):
            cursor.execute(statement)
