"""A database that fails: nothing is half done, what passes is waited for, the next call works."""

import errno
import sqlite3
import threading
import xmlrpc.client
from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import Settings

from inventory import outages
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
    """No page may be added to the file, and none is free in it that other tests gave back."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
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


@pytest.fixture
def locked(pool: list[int], settings: Settings) -> Iterator[sqlite3.Connection]:
    """Another program holds the file's write lock, which may be given up before the end."""
    settings.VASTSKY_ATTACH_SECONDS = 2
    pragma("busy_timeout = 50")
    other = sqlite3.connect(
        connection.settings_dict["NAME"], isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()
    pragma("busy_timeout = 20000")


def test_a_database_that_stays_locked_is_eagain_with_a_sentence(
    api: Api, locked: sqlite3.Connection
) -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        api("createLogicalVolume", lvolname="data", capacity=1)
    listed = api("listLogicalVolumes")
    locked.rollback()

    assert caught.value.faultCode == errno.EAGAIN
    assert caught.value.faultString == outages.AWAY
    assert listed == []
    assert api("createLogicalVolume", lvolname="data", capacity=1)


def test_a_database_that_is_locked_for_a_moment_makes_a_call_wait(
    api: Api, locked: sqlite3.Connection
) -> None:
    moment = threading.Timer(0.5, locked.rollback)
    moment.start()

    assert api("createLogicalVolume", lvolname="data", capacity=1)

    moment.join()
    assert len(api("listLogicalVolumes")) == 1
