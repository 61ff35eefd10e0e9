"""The file system of the manager's database is full."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from xmlrpc.client import Fault

import pytest
from django.core.management import call_command
from django.db import connection

from inventory.models import Extent
from tests.conftest import AddServer
from tests.contract.api import Api
from volumes.models import LogicalVolume

pytestmark = pytest.mark.skipif(
    "sqlite" not in connection.vendor, reason="a limit of pages makes SQLite alone say: disk full"
)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let the database grow no further: SQLite then answers as on a full disk (SQLITE_FULL)."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute(f"PRAGMA max_page_count = {pages}")
        yield
        cursor.execute("PRAGMA max_page_count = 1073741823")


def create_until_it_fails(call: Api) -> Fault:
    for number in itertools.count():
        try:
            call("createLogicalVolume", lvolname=f"v{number}", capacity=640)
        except Fault as fault:
            return fault
    raise AssertionError("unreachable")


def test_a_full_disk_is_a_500_that_leaves_nothing_half_done(
    transactional_db: None, call: Api, add_server: AddServer
) -> None:
    for _ in range(3):
        add_server(disks=4, gb=2000)
    with full_disk():
        fault = create_until_it_fails(call)

    made = LogicalVolume.objects.count()
    assert fault.faultCode == 500
    assert "full" not in fault.faultString
    assert Extent.objects.filter(status=Extent.Status.BUSY).count() == made * 3 * 64
    call_command("fsck")
    assert call("listEvents") == []


def test_once_there_is_room_again_all_goes_on(
    transactional_db: None, call: Api, add_server: AddServer
) -> None:
    for _ in range(3):
        add_server(disks=4, gb=2000)
    with full_disk():
        create_until_it_fails(call)
    made = LogicalVolume.objects.count()

    call("createLogicalVolume", lvolname="later", capacity=64)

    assert LogicalVolume.objects.count() == made + 1
    call_command("fsck")
