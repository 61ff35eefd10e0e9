"""Take a real cluster through the states that the console names, and picture each: `make states`.

No test: pytest lends its order of things. Pictures go to var/states/: look at each of them, at two
widths, light and dark. What axe-core finds serious, and pages that are wider than their screen, are
told at the end of each state.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import product
from typing import NamedTuple
from xmlrpc.client import Fault

import pytest
from playwright.sync_api import Browser

from deploy.local import manager_processes, observe
from deploy.local.cluster import LocalCluster
from deploy.local.place import ROOT, choose
from tests.cluster.conftest import HASTE, free_port
from tests.cluster.test_bit_rot import GOOD, replicas, rot, unequal
from tests.cluster.world import World, running_world
from tests.console.browsing import DESK, PHONE, Person, Scheme, chromium, serious, signed_in
from volumes.reports.shared import MOST

FOLDER = ROOT / "var" / "states"
CALM = HASTE | {
    "VASTSKY_OFFLINE_SECONDS": "90",
    "VASTSKY_GRACE_SECONDS": "600",
    "VASTSKY_ATTACH_SECONDS": "20",
    "VASTSKY_REBUILDS_TOTAL": "1",
}
"""Silence lasts long enough to be looked at."""
LIMITS = {"shred_mib_per_s": 400, "rebuild_mib_per_s": 1, "scrub_mib_per_s": 1}
"""So does what copies and compares."""
VOLUME = "pictured"
SHORT, LONG = 24, 96
"""MiB in a volume: the seconds in which a replica is copied, or compared."""
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
OVERVIEW, PROBLEMS = "/admin/", "/admin/console/problems/"
SERVERS, CLUSTER = "/admin/inventory/storageserver/", "/admin/console/cluster/"
VOLUMES, JOBS = "/admin/volumes/logicalvolume/", "/admin/volumes/job/"
UNEQUAL = "/admin/volumes/unequalblock/"
Pages = list[str]
EXTENT, OFFLINE = 4, 4
MISSED = 6
"""Seconds after which a server that does not answer is told to be silent; no call tells it."""


class Looker(NamedTuple):
    """Somebody who is signed in, and what their screen is called."""

    name: str
    person: Person


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("states")
    cluster = LocalCluster(choose(str(home), str(free_port())), CALM, LIMITS)
    with running_world(cluster) as world:
        yield world


@pytest.fixture(scope="module")
def lookers(browser: Browser, running: World) -> Iterator[list[Looker]]:
    """Four of them: a desk and a phone, each light and dark."""
    who = ("admin", manager_processes.admin_password(running.place))
    with ExitStack() as stack:
        yield [
            Looker(
                f"{size['width']}-{scheme}",
                stack.enter_context(signed_in(browser, running.place.url, who, size, scheme)),
            )
            for size, scheme in product((DESK, PHONE), SCHEMES)
        ]


# -- the states: each brings the cluster there, and names the pages to look at ---------------------


def maintenance(world: World) -> Pages:
    world.call("vastsky.maintenance", ssvrid=2, minutes=30)
    return [OVERVIEW, SERVERS, f"{SERVERS}2/change/"]


def _drain(world: World) -> tuple[int, int]:
    """Evacuate a server that has a replica of each of three volumes; the job and the server."""
    names = [f"{VOLUME}-{number}" for number in range(3)]
    for name in names:
        _use(world, 3, name, 2 * SHORT)
    held = Counter(server for name in names for server in _holders(world, name))
    ((server, _),) = held.most_common(1)
    job = int(world.call("vastsky.evacuate", ssvrid=server))
    world.wait(lambda: observe.rebuilding(world.call)[0] > 0, "something moves")
    return job, server


def draining(world: World) -> Pages:
    job, server = _drain(world)
    return [OVERVIEW, SERVERS, f"{SERVERS}{server}/change/", f"{JOBS}{job}/change/"]


def paused(world: World) -> Pages:
    job, server = _drain(world)
    world.call("vastsky.pauseJob", eventid=job)
    world.wait(
        lambda: observe.rebuilding(world.call)[0] == 0, "the move that had begun is over", 120
    )
    return [OVERVIEW, f"{SERVERS}{server}/change/", f"{JOBS}{job}/change/"]


def returning(world: World) -> Pages:
    """What is drained, with the preview of its way back."""
    world.call("vastsky.evacuate", ssvrid=2)
    world.wait(lambda: world.call("vastsky.listJobs") == [], "it is drained")
    return [SERVERS, f"{SERVERS}2/change/", "/admin/console/do/return-storage/?on=2"]


def waiting(world: World) -> Pages:
    volume = _use(world, 3)
    for node in [node for node in world.place.nodes() if node.role == "storage"]:
        world.cluster.kill(node.name)
    with suppress(OSError):
        world.background.submit(world.fill, VOLUME, 1)
    world.wait(lambda: world.call("vastsky.listWaiting") != [], "it waits for storage")
    return [OVERVIEW, PROBLEMS, f"{VOLUMES}{volume}/change/"]


def recovering(world: World) -> Pages:
    volume = _use(world, 3, blocks=LONG)
    leaf = observe.replicas(world.call, VOLUME)[0]
    world.call("notifyFailure", target=EXTENT, targetid=leaf["lvolid"], reason="a picture")
    world.wait(lambda: observe.rebuilding(world.call)[0] > 0, "it is being rebuilt")
    return [OVERVIEW, PROBLEMS, VOLUMES, f"{VOLUMES}{volume}/change/"]


def scrubbing(world: World) -> Pages:
    volume = _use(world, 3, blocks=LONG)
    world.call("vastsky.scrubVolume", lvolname=VOLUME)
    return [OVERVIEW, VOLUMES, f"{VOLUMES}{volume}/change/"]


def silent(world: World) -> Pages:
    _use(world, 3)
    server = _holders(world)[0]
    world.cluster.kill(_node(world, server))
    time.sleep(MISSED)
    return [OVERVIEW, PROBLEMS, SERVERS, f"{SERVERS}{server}/change/"]


def offline(world: World) -> Pages:
    _use(world, 3)
    server = _holders(world)[0]
    world.cluster.kill(_node(world, server))
    world.wait(lambda: _priority(world, server) == OFFLINE, "it is OFFLINE", seconds=150)
    return [OVERVIEW, PROBLEMS, SERVERS, f"{SERVERS}{server}/change/", CLUSTER]


def failed_detach(world: World) -> Pages:
    volume = _use(world, 3)
    (head,) = [node for node in world.place.nodes() if node.role == "head"][:1]
    world.cluster.signal(head.name, signal.SIGSTOP)
    with suppress(Fault):
        world.detach(VOLUME)
    return [OVERVIEW, PROBLEMS, f"{VOLUMES}{volume}/change/"]


def one_replica_left(world: World) -> Pages:
    volume = _use(world, 2, blocks=LONG)
    world.cluster.kill(_node(world, _holders(world)[0]))
    world.wait(lambda: observe.in_sync(world.call, VOLUME) == 1, "one replica is left")
    return [OVERVIEW, PROBLEMS, f"{VOLUMES}{volume}/change/"]


def differing(world: World) -> Pages:
    """Two replicas differ, and nobody knows which is right."""
    volume = world.create(VOLUME, capacity=1, redundancy=2)
    world.attach(VOLUME)
    with world.open(VOLUME) as device:
        device.write(0, GOOD)
        device.flush()
    world.detach(VOLUME)
    path, offset, _ = replicas(world, VOLUME)[0]
    rot(path, offset)
    world.call("vastsky.scrubVolume", lvolname=VOLUME)
    world.wait(lambda: unequal(world) != [], "the difference is found")
    place = unequal(world)[0]["blockid"]
    return [OVERVIEW, PROBLEMS, f"{VOLUMES}{volume}/change/", f"{UNEQUAL}{place}/change/"]


STATES: list[Callable[[World], Pages]] = [
    maintenance,
    draining,
    paused,
    returning,
    waiting,
    scrubbing,
    silent,
    failed_detach,
    one_replica_left,
    differing,
    offline,
    recovering,
]
"""The last one leaves a disk behind that is trusted less."""


# -- what they are made of -------------------------------------------------------------------------


def _use(world: World, redundancy: int, name: str = VOLUME, blocks: int = SHORT) -> int:
    """Have a volume in use, with something in it."""
    volume = world.create(name, redundancy=redundancy)
    world.attach(name)
    world.fill(name, blocks)
    return volume


def _holders(world: World, name: str = VOLUME) -> list[int]:
    return [leaf["lvolspec"]["ssvrid"] for leaf in observe.replicas(world.call, name)]


def _node(world: World, server: int) -> str:
    (row,) = world.call("listStorageServers", ssvrid=server)
    addresses = row["ip_data"]
    return next(n.name for n in world.place.nodes() if list(n.addresses) == addresses)


def _priority(world: World, server: int) -> int:
    return int(world.call("listStorageServers", ssvrid=server)[0]["priority"])


@pytest.fixture
def back_to_normal(running: World) -> Iterator[None]:
    yield
    for node in running.place.nodes():
        with suppress(OSError, KeyError):
            running.cluster.signal(node.name, signal.SIGCONT)
    for fallen in running.cluster.fallen():
        running.cluster.launch(fallen)
    for job in running.call("vastsky.listJobs"):
        if job["kind"] in {"maintenance", "scrub", "mend"}:
            with suppress(Fault):
                running.call("vastsky.cancelJob", eventid=job["eventid"])
    running.wait(lambda: _all_serve(running), "all servers take new data", seconds=60)
    running.wait(lambda: _tidied(running), "what waited is written, all is deleted", seconds=120)
    running.wait(
        lambda: running.call("vastsky.listJobs") == [], "nothing is left to be done", seconds=120
    )


def _tidied(world: World) -> bool:
    with suppress(Fault):
        world.tidy()
    return bool(world.call("listLogicalVolumes") == [])


def _all_serve(world: World) -> bool:
    """Return to service what is drained, and tell whether every server is up."""
    others = [row for row in world.call("listStorageServers") if row["priority"] != observe.HIGH]
    for row in others:
        with suppress(Fault):
            world.call("vastsky.returnToService", ssvrid=row["ssvrid"])
    return not others


@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__)
def test_picture(
    running: World,
    back_to_normal: None,
    lookers: list[Looker],
    reach: Callable[[World], Pages],
) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = []
    pages = reach(running)
    time.sleep(MOST)  # what is computed once for all viewers is of now by then
    for number, path in enumerate(pages):
        for looker in lookers:
            page = looker.person.go(path)
            page.wait_for_timeout(500)  # parts that load themselves, and charts
            name = f"{reach.__name__}-{number}-{looker.name}"
            page.screenshot(path=FOLDER / f"{name}.png", full_page=True)
            found += [f"{name}: {path}: {what}" for what in serious(page)]
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > page.viewport_size["width"]:  # type: ignore[index]
                found.append(f"{name}: {path} is {width} pixels wide")
    assert found == [], "\n".join(found)
