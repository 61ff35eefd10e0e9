"""What all tests share: calls through the wire, servers with zeroed disks, and races."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.db.models.signals import post_migrate
from django.test import Client
from django.utils import timezone

from agents.version import VERSION
from inventory import clock, ids
from inventory.models import IdSpace
from inventory.pulse import Pulse
from tests.contract.api import Api, add_disk, zero_everything
from volumes.reports import shared
from volumes.reports.problems import work_problems

AddServer = Callable[..., int]
Race = Callable[..., list[Any]]


@pytest.fixture(autouse=True)
def time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker moves the cluster's clock on in these tests: it begins now, and goes by itself."""
    for bound in ("LOOK", "LEASH"):
        monkeypatch.setattr(clock, bound, math.inf)
    moment = time.monotonic()
    reading = clock._Reading(timezone.now(), 0, moment, moment)
    monkeypatch.setattr(clock, "_reading", reading)


@pytest.fixture(autouse=True)
def nobody_watched_the_workers_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console's watch lives as long as its process, which here is that of all tests."""
    monkeypatch.setattr(work_problems, "_workers", Pulse())


@pytest.fixture(autouse=True)
def nobody_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the console keeps for all who ask is computed anew for each request of a test."""
    monkeypatch.setattr(shared, "MOST", 0.0)


@pytest.fixture(scope="session", autouse=True)
def id_spaces_come_back() -> Iterator[None]:
    """A test with real transactions ends by emptying every table, the id spaces included."""

    def refill(sender: Any, using: str, **_: Any) -> None:
        if sender.label == "volumes":
            rows = [IdSpace(name=name) for name in ids.SPACES]
            IdSpace.objects.using(using).bulk_create(rows, ignore_conflicts=True)

    post_migrate.connect(refill, weak=False)
    yield
    post_migrate.disconnect(refill)


@pytest.fixture
def call() -> Api:
    """Call a method of the API as a client would; a fault is raised as xmlrpc.client.Fault."""
    return Api(Client(raise_request_exception=True))


@pytest.fixture
def add_server(call: Api) -> AddServer:
    """Register a storage server with disks and have them zeroed; its id."""
    numbers = itertools.count(1)

    def add(disks: int = 1, gb: int = 100, **about: str) -> int:
        number = next(numbers)
        addresses = [f"10.8.0.{number}", f"10.9.0.{number}"]
        about.setdefault("version", VERSION)
        ssvrid = call("registerStorageServer", ip_data=addresses, **about)
        for disk in range(disks):
            # One GB more than what can be allocated: the SUPER extent.
            add_disk(call, ssvrid, f"/dev/disk/by-id/{number}-{disk}", gb + 1)
        zero_everything()
        return int(ssvrid)

    return add


@pytest.fixture
def race() -> Race:
    """Call all of these at the same moment; their results or exceptions, in the same order."""

    def run(*racers: Callable[[], Any]) -> list[Any]:
        start = threading.Barrier(len(racers))

        def one(racer: Callable[[], Any]) -> Any:
            try:
                start.wait(timeout=10)
                return racer()
            except Exception as error:  # noqa: BLE001  the test looks at it
                return error
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(racers)) as threads:
            return list(threads.map(one, racers))

    return run
