"""The rows that a support bundle has: of each table the columns that are named here, no others."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Model

from inventory.models import (
    Address,
    AuditEntry,
    Disk,
    EventEntry,
    HeadServer,
    Member,
    StorageServer,
)
from volumes.models import Attachment, Job, LogicalVolume

SERVER = ("id", "name", "host_name", "version", "priority", "priority_since", "last_answer")
MORE_OF_SERVER = ("silent_since", "node_uuid", "boot_id", "created")


@dataclass(frozen=True, slots=True)
class Table:
    """Some columns of a table, of so many rows: the first ones in this order."""

    name: str
    model: type[Model]
    columns: Sequence[str]
    order: str = "pk"
    most: int = 10_000

    def csv(self) -> str:
        """Write the rows."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(self.columns)
        rows = self.model._default_manager.order_by(self.order)  # noqa: SLF001  documented API
        writer.writerows(rows.values_list(*self.columns)[: self.most].iterator(2000))
        return text.getvalue()


TABLES = (
    Table("storage-servers", StorageServer, (*SERVER, "site", "rack", *MORE_OF_SERVER)),
    Table("head-servers", HeadServer, (*SERVER, *MORE_OF_SERVER)),
    Table(
        "addresses",
        Address,
        ("address", "position", "storage", "head", "silent_since", "silence"),
    ),
    Table("disks", Disk, ("id", "server", "priority", "capacity_gb", "tags", "local_path")),
    Table(
        "volumes",
        LogicalVolume,
        (
            "id",
            "name",
            "capacity_gb",
            "redundancy",
            "origin",
            "epoch",
            "broken",
            "waiting_since",
            "created",
        ),
    ),
    Table("attachments", Attachment, ("volume", "head", "state", "since")),
    Table(
        "jobs",
        Job,
        (
            "id",
            "kind",
            "state",
            "subject",
            "attempts",
            "waiting",
            "errno",
            "actor",
            "created",
            "started",
            "moved",
            "finished",
        ),
        order="-pk",
        most=5_000,
    ),
    Table(
        "events",
        EventEntry,
        (
            "id",
            "at",
            "severity",
            "kind",
            "object_kind",
            "object_id",
            "object_name",
            "cause",
            "actor",
            "job",
        ),
        order="-pk",
        most=5_000,
    ),
    Table(
        "audit",
        AuditEntry,
        ("id", "at", "actor", "way", "verb", "subject", "detail"),
        order="-pk",
        most=5_000,
    ),
    Table(
        "nodes",
        Member,
        ("name", "roles", "addresses", "invited_until", "certificate_ends"),
        order="name",
    ),
)
