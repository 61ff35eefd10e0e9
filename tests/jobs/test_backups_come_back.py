"""A backup is restored as it was, or not at all."""

import errno
import xmlrpc.client
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from inventory import recovery
from inventory.models import AuditEntry
from tests.jobs.conftest import Cluster
from tests.jobs.recovering import (
    used,
    write_dump,
)
from tests.jobs.simulated_head import Head
from volumes.integrity import backup
from volumes.models import LogicalVolume


def test_a_backup_comes_back_as_it_was(four: Cluster, head: Head, dump: Path) -> None:
    volume = used(four, head, "data")
    four.call("createSnapshot", origin_lvolname="data", snapshot_lvolname="frozen")
    created = LogicalVolume.objects.get(pk=volume.pk).created
    before = four.call("listLogicalVolumes")
    call_command("backup", str(dump), stdout=StringIO())
    LogicalVolume.objects.update(created=timezone.now())

    call_command("restore", str(dump), "--replace", stdout=StringIO())

    assert AuditEntry.objects.filter(verb="restore").exists()
    assert four.call("listLogicalVolumes") == before
    assert LogicalVolume.objects.get(pk=volume.pk).created == created
    assert "backup" in recovery.why()
    call_command("fsck")


def test_a_restored_database_asks_for_recovery(four: Cluster, dump: Path) -> None:
    write_dump(dump)
    backup.restore(dump)

    with pytest.raises(xmlrpc.client.Fault) as refusal:
        four.create()

    assert refusal.value.faultCode == errno.EAGAIN


@pytest.mark.parametrize("where", [80, 400, -3])
def test_a_damaged_backup_changes_nothing(four: Cluster, dump: Path, where: int) -> None:
    write_dump(dump)
    data = bytearray(dump.read_bytes())
    data[where] ^= 0xFF
    dump.write_bytes(bytes(data))
    four.create("kept")

    with pytest.raises(CommandError):
        call_command("restore", str(dump), "--replace", stdout=StringIO())

    assert LogicalVolume.objects.get().name == "kept"


def test_rows_are_replaced_only_on_demand(four: Cluster, dump: Path) -> None:
    write_dump(dump)

    with pytest.raises(CommandError, match="--replace"):
        call_command("restore", str(dump), stdout=StringIO())
