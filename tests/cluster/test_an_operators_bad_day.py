"""A bad day in Chromium: what is wrong is found by its cause, and mended, on a real cluster."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from deploy.local import observe
from deploy.local.cluster import LocalCluster
from deploy.local.place import choose
from tests.cluster.conftest import HASTE, SLOW, free_port
from tests.cluster.test_bit_rot import GOOD, MIB, prepare, read, rot, scrub
from tests.cluster.world import World, running_world
from tests.console.browsing import (
    Person,
    after_a_poll,
    expect_verdict,
    needs_chromium,
)

pytestmark = needs_chromium
TIMEOUTS = {
    "VASTSKY_GRACE_SECONDS": "3600",
    "VASTSKY_REBUILDS_PER_DISK": "1",
    "VASTSKY_REBUILDS_PER_SERVER": "1",
    "VASTSKY_REBUILDS_TOTAL": "1",
}
"""Nothing is replaced before the operator has seen it, and one move goes after the other."""
MOVED = 32
"""Blocks that are written far from each other, so that to move them takes some seconds."""
Fields = Mapping[str, str]
NOTHING: Fields = {}
LIMITS = {"shred_mib_per_s": 400, "rebuild_mib_per_s": 4}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("bad-day")
    cluster = LocalCluster(choose(str(home), str(free_port())), {**HASTE, **TIMEOUTS}, LIMITS)
    with running_world(cluster) as world:
        yield world


@pytest.fixture
def world(own: World) -> Iterator[World]:
    yield own
    own.mend_and_check()


def _do(page: Page, verb: str, at: Locator | None = None, fields: Fields = NOTHING) -> None:
    """Choose a verb on a page, and confirm its preview: both lead to whole pages."""
    (at or page).get_by_role("link", name=verb, exact=True).first.click()
    for label, value in fields.items():
        page.get_by_label(label).fill(value)
    with page.expect_navigation():
        page.locator("main").get_by_role("button", name=verb, exact=True).click()
    expect(page.get_by_role("link", name="Overview").first).to_be_visible()


def _server_of(world: World, node: str) -> int:
    where = list(world.place.node(node).addresses)
    servers = world.call("listStorageServers")
    return next(int(row["ssvrid"]) for row in servers if row["ip_data"] == where)


def _fullest(world: World) -> tuple[int, str]:
    """Find the storage server that holds most replicas of all: its number and its node."""
    volumes = [row["lvolname"] for row in world.call("listLogicalVolumes")]
    replicas = [one for name in volumes for one in observe.replicas(world.call, name)]
    held = Counter(int(one["lvolspec"]["ssvrid"]) for one in replicas)
    ((server, _),) = held.most_common(1)
    nodes = [node.name for node in world.place.nodes() if node.role == "storage"]
    return server, next(name for name in nodes if _server_of(world, name) == server)


def _moves(world: World) -> int:
    """Count the moves of an evacuation that have begun."""
    jobs = world.call("vastsky.listJobs")
    return sum(job["kind"] == "rebuild" and bool(job["step"]) for job in jobs)


def test_a_lost_server_is_found_by_its_cause_spared_and_comes_back(
    world: World, person: Person
) -> None:
    world.create("ledger", capacity=2)
    world.attach("ledger")
    ledger = world.fill("ledger")
    lost = observe.holder(world.call, world.place, "ledger")
    page = person.go("/admin/")
    expect_verdict(page, "All data is safe", SLOW)

    world.cluster.kill(lost)

    expect_verdict(page, "Data is safe, something needs attention", SLOW)
    page.get_by_role("region", name="Verdict").get_by_role("link", name="1 problem").click()
    card = page.locator(".vs-problem")
    expect(card).to_have_count(1)
    expect(card).to_contain_text("storage server")
    expect(card).to_contain_text("1 volume has fewer replicas than promised")
    expect(card.get_by_role("link", name="ledger")).to_be_visible()
    after_a_poll(page, "/problems/live/**")
    _do(page, "Maintenance", fields={"Minutes": "30"})
    job = page.get_by_role("region", name=re.compile(r"Job \d+")).filter(has_text="Maintenance")
    expect(job).to_be_visible()
    expect(page.locator("main")).to_contain_text("nothing of it is replaced before that ends")

    with world.open("ledger") as device:
        ledger.write(device, 0)
    person.go("/admin/volumes/job/?state__exact=open")
    page.get_by_role("link", name="rebuild").first.click()
    after_a_poll(page, "/live/")
    _do(page, "Retry now")
    expect(page.locator("h1")).to_contain_text("Job")
    expect(page.locator("main")).to_contain_text("maintenance")

    world.cluster.launch(lost)

    person.go(f"/admin/inventory/storageserver/{_server_of(world, lost)}/change/")
    expect(page.locator("main")).to_contain_text("answered", timeout=SLOW)
    after_a_poll(page, "/live/")
    _do(page, "End maintenance")
    person.go("/admin/")
    expect_verdict(page, "All data is safe", SLOW)
    assert world.healed("ledger")
    assert world.verify("ledger", ledger)


def test_an_evacuation_rests_goes_on_and_ends_with_the_servers_removal(
    world: World, person: Person
) -> None:
    for name in ("first", "second", "third"):
        world.create(name, capacity=1)
        world.attach(name)
        world.fill(name, blocks=MOVED)
    server, node = _fullest(world)
    page = person.go(f"/admin/inventory/storageserver/{server}/change/")
    job = page.get_by_role("region", name=re.compile(r"Job \d+")).filter(has_text="Evacuation")

    _do(page, "Evacuate")
    world.wait(lambda: _moves(world) > 0, "the first move")
    _do(page, "Pause")
    person.go(f"/admin/inventory/storageserver/{server}/change/")
    expect(job).to_contain_text("paused; 1 move that has begun finishes first", timeout=SLOW)
    expect(job).to_contain_text(re.compile(r"GiB are left, paused\s"), timeout=SLOW)
    expect(page.locator("main")).to_contain_text(re.compile(r"draining, paused at \d+ %"))
    after_a_poll(page, "/live/")
    job.get_by_role("link", name="Evacuation").click()
    expect(page.locator("main")).to_contain_text("nothing moves now")
    expect(page.get_by_text(re.compile(r"\d left|MiB/s"))).to_have_count(0)
    after_a_poll(page, "/live/")
    _do(page, "Go on")
    expect(page.locator(".vs-pill", has_text="done")).to_be_visible(timeout=SLOW)

    person.go(f"/admin/inventory/storageserver/{server}/change/")
    expect(page.locator("main")).to_contain_text("drained")
    world.cluster.kill(node)
    expect(page.locator("main")).to_contain_text("offline", timeout=SLOW)
    after_a_poll(page, "/live/")
    name = f"ssvr-{server:08x}"
    _do(page, "Delete", fields={f"Type {name} to confirm": name})
    expect(page.locator("h1")).to_contain_text("Storage servers")
    world.cluster.launch(node)
    world.wait(world.up, "it is back, as a new server")
    assert server not in {row["ssvrid"] for row in world.call("listStorageServers")}


def test_a_finding_of_a_scrub_is_told_and_mended_by_choice(world: World, person: Person) -> None:
    places = prepare(world, 2, attached=True)
    (path, offset, _), (good_path, good_offset, good) = places
    rot(path, offset + 2 * MIB)
    scrub(world, "rot")
    page = person.go("/admin/")
    expect_verdict(page, "Data is at risk")
    expect_verdict(page, "replicas of rot differ")

    page.get_by_role("region", name="Verdict").get_by_role("link", name="1 problem").click()
    page.locator(".vs-problem").get_by_role("link", name="Look at it").click()
    replica = page.locator(".vs-node").filter(has_text=f"dext-{good:08x}")
    _do(page, "Take this content", replica, {"Type rot to confirm": "rot"})

    person.go("/admin/")
    expect_verdict(page, "All data is safe", SLOW)
    assert read(path, offset + 2 * MIB) == read(good_path, good_offset + 2 * MIB) == GOOD


def test_a_restored_manager_says_that_it_recovers_and_what_it_refuses_meanwhile(
    restored: World, person: Person
) -> None:
    page = person.go("/admin/")
    expect_verdict(page, "Recovering: what runs goes on, nothing new is done")
    expect_verdict(page, "UTC that was restored")
    person.go("/admin/volumes/logicalvolume/?q=known")
    page.get_by_role("link", name="known").first.click()
    _do(page, "Detach")
    expect(page.get_by_text("has to wait: the cluster is in recovery mode")).to_be_visible()
    expect(page.locator(".vs-facts").first).to_contain_text("attached")

    _manage(restored, "recover", "--apply")

    person.go("/admin/")
    expect_verdict(page, "All data is safe", SLOW)
    assert restored.state("known") == (1, 0)


@pytest.fixture
def restored(world: World, tmp_path: Path) -> Iterator[World]:
    """The cluster, with a volume in use and a manager that was restored from a backup."""
    world.create("known", capacity=1)
    world.attach("known")
    _manage(world, "backup", str(tmp_path / "dump"))
    for part in ("web", "worker", "beat"):
        world.cluster.kill(part)
    _manage(world, "restore", str(tmp_path / "dump"), "--replace")
    world.repair()
    yield world
    world.cluster.manage("recover", "--apply")  # it is refused where the test has done so


def _manage(world: World, *words: str) -> None:
    done = world.cluster.manage(*words)
    assert done.returncode == 0, done.stdout + done.stderr
