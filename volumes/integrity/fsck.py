"""Say what is wrong with the database: every invariant is looked at in one moment of it."""
# ruff: noqa: SLF001
# Django documents a model's `_meta`.

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connection

from inventory.errors import Invalid
from volumes import labels
from volumes.integrity.invariants import CHECKS, Check
from volumes.integrity.moment import one_moment
from volumes.lifecycle.volumes import check_name
from volumes.models import LogicalVolume

if TYPE_CHECKING:
    from django.db.models.options import Options

SETTLING = timedelta(minutes=1)
"""A failure and the reconciling that acts on it may lie so far apart."""


def violations() -> Iterator[str]:
    """Tell every violation, one line each, as the database was at one moment."""
    with one_moment() as now:
        for check in [*CHECKS, *_references()]:
            rows = _select(check.sql, now)
            yield from labels.in_texts(f"{check.rule}: {check.row.format(*row)}" for row in rows)
        yield from _bad_names()


def _select(sql: str, now: datetime) -> list[tuple[object, ...]]:
    settled = connection.ops.adapt_datetimefield_value(now - SETTLING)
    with connection.cursor() as cursor:
        cursor.execute(sql, {"settled": settled} if "%(settled)s" in sql else None)
        rows: list[tuple[object, ...]] = cursor.fetchall()
        return rows


def _bad_names() -> Iterator[str]:
    """Tell the names that no volume could be created under: the rule is not one for SQL."""
    for pk, name in LogicalVolume.objects.order_by("pk").values_list("pk", "name").iterator():
        try:
            check_name(name)
        except Invalid as refusal:
            yield f"I13 a volume has a name that none may have: lvol-{pk:08x}: {refusal}"


def _references() -> Iterator[Check]:
    """Make a check of every foreign key: SQLite may have been written to without them."""
    for app in ("inventory", "volumes"):
        for model in apps.get_app_config(app).get_models():
            for field in model._meta.concrete_fields:
                if isinstance(field.related_model, type):
                    yield _reference(model._meta, field.column, field.related_model._meta)


def _reference(own: "Options[Any]", column: str, other: "Options[Any]") -> Check:
    key, table, other_key, other_table = (
        connection.ops.quote_name(name)
        for name in (own.pk.column, own.db_table, other.pk.column, other.db_table)
    )
    return Check(
        "I18 a reference leads nowhere",
        f"{own.db_table} {{0}}: {column} {{1}} is not in {other.db_table}",
        f"SELECT t.{key}, t.{column} FROM {table} t WHERE t.{column} IS NOT NULL"  # noqa: S608
        f" AND NOT EXISTS (SELECT 1 FROM {other_table} o WHERE o.{other_key} = t.{column})",
    )
