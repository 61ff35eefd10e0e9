"""A database that fails: the caller gets 500, nothing is half done, and the next call works."""

import sqlite3
import xmlrpc.client
from collections.abc import Iterator

import pytest
from django.db import connection

from tests.contract.api import Api

ROOMY = "max_page_count = 1000000"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _only_sqlite(db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite can be made to fail on demand")


def pragma(text: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {text}")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


@pytest.fixture
def full_disk(pool: list[int]) -> Iterator[None]:
    """No page may be added to the file."""
    pragma(f"max_page_count = {pragma('page_count')}")
    yield
    pragma(ROOMY)


def test_a_full_disk_is_500_and_leaves_nothing_behind(api: Api, full_disk: None) -> None:
    room = [row["available"] for row in api("listPhysicalDisks")]
    codes = []

    for number in range(1, 90):
        try:
            api("createLogicalVolume", lvolname=f"v{number}", capacity=1)
        except xmlrpc.client.Fault as fault:
            codes.append(fault.faultCode)

    made = len(api("listLogicalVolumes"))
    assert set(codes) == {500}
    assert made == 89 - len(codes)
    assert [row["available"] for row in api("listPhysicalDisks")] == [gb - made for gb in room]

    pragma(ROOMY)
    assert api("createLogicalVolume", lvolname="at-last", capacity=1)


def test_a_locked_database_is_500_and_forgotten(api: Api, pool: list[int]) -> None:
    pragma("busy_timeout = 50")
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    code = api.fault("createLogicalVolume", lvolname="data", capacity=1)
    listed = api("listLogicalVolumes")
    other.rollback()
    other.close()

    assert code == 500
    assert listed == []
    assert api("createLogicalVolume", lvolname="data", capacity=1)
    pragma("busy_timeout = 20000")
