"""The main job once more, by hand: in Chromium, on a cluster that really runs."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from deploy.local import manager_processes, observe
from tests.cluster.conftest import SLOW
from tests.cluster.world import World
from tests.console.browsing import (
    PHONE,
    Person,
    expect_verdict,
    needs_chromium,
    signed_in,
)

pytestmark = needs_chromium
VIEWER = ("onlooker", "sees-but-touches-not-1")
OFFLINE = 4
EVIL = "<img src=x onerror=alert(1)>"


def _create_and_attach(page: Page, name: str) -> None:
    page.get_by_role("link", name="New volume").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Capacity in GiB").fill("4")
    expect(page.locator("#preview")).to_contain_text("fits")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="Attach", exact=True).click()
    page.get_by_label("Head server").select_option(index=1)
    page.get_by_role("button", name="Attach").click()
    _wait_for_the_job(page, "attach")
    expect(page.locator(".vs-facts").first).to_contain_text("attached")


def _wait_for_the_job(page: Page, kind: str) -> None:
    """See a job through on the page of what it is about, which a verb leads to."""
    job = page.get_by_role("region", name=re.compile(r"Job \d+")).filter(has_text=kind)
    expect(job.locator(".vs-pill", has_text="done")).to_be_visible(timeout=SLOW)


def test_a_person_watches_a_rebuild_reach_the_end(world: World, person: Person) -> None:
    page = person.go("/admin/")
    # Space of the test before may still be zeroed, on a server that is just back.
    expect_verdict(page, "All data is safe", within=SLOW)
    _create_and_attach(page, "watched")
    ledger = world.fill("watched")
    address = page.url

    world.cluster.kill(observe.holder(world.call, world.place, "watched"))

    page.goto(address)
    expect(page.locator(".vs-facts").first).to_contain_text("2 of 3", timeout=SLOW)
    page.get_by_role("link", name="rebuild", exact=True).first.click()
    expect(page.locator(".vs-big")).to_have_text("100 %", timeout=SLOW)
    expect(page.locator(".vs-pill", has_text="done")).to_be_visible(timeout=SLOW)
    page.goto(address)
    expect(page.locator(".vs-facts").first).to_contain_text("3 of 3", timeout=SLOW)
    assert world.verify("watched", ledger)


def test_a_person_snapshots_detaches_and_deletes(world: World, person: Person) -> None:
    page = person.go("/admin/")
    _create_and_attach(page, "by-hand")

    page.get_by_role("link", name="Snapshot", exact=True).click()
    page.get_by_label("Name").fill("by-hand.frozen")
    page.get_by_role("button", name="Snapshot").click()
    _wait_for_the_job(page, "snapshot")
    assert (world.place.links / "by-hand.frozen").exists()

    page.get_by_role("link", name="Detach", exact=True).click()
    page.get_by_role("button", name="Detach").click()
    _wait_for_the_job(page, "detach")
    expect(page.locator(".vs-facts").first).to_contain_text("detached")
    assert not (world.place.links / "by-hand").exists()

    for name in ("by-hand.frozen", "by-hand"):
        page.goto(f"{person.url}/admin/volumes/logicalvolume/?q={name}")
        page.get_by_role("link", name=name).first.click()
        page.get_by_role("link", name="Delete", exact=True).click()
        page.get_by_label(f"Type {name} to confirm").fill(name)
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_text(f"Delete {name}: done.")).to_be_visible()
    assert world.call("listLogicalVolumes") == []


@pytest.fixture
def onlooker(browser: Browser, world: World, person: Person) -> Iterator[Person]:
    """Somebody whom the admin gave the role of a viewer."""
    page = person.go("/admin/auth/user/add/")
    page.fill("[name=username]", VIEWER[0])
    page.fill("[name=password1]", VIEWER[1])
    page.fill("[name=password2]", VIEWER[1])
    page.get_by_label("viewer").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    with signed_in(browser, world.place.url, VIEWER) as somebody:
        yield somebody


def test_a_viewer_sees_and_touches_nothing(world: World, onlooker: Person) -> None:
    volume = world.create("not-yours")
    page = onlooker.go(f"/admin/volumes/logicalvolume/{volume}/change/")

    expect(page.locator(".vs-facts").first).to_contain_text("detached")
    expect(page.get_by_role("link", name="New volume")).to_have_count(0)
    expect(page.locator(".vs-buttons a")).to_have_count(0)

    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    forged = page.request.post(
        f"{onlooker.url}/admin/console/do/delete-volume/",
        form={"on": str(volume), "phrase": "not-yours", "csrfmiddlewaretoken": token},
    )

    assert (forged.status, "CSRF" in forged.text()) == (403, False)
    assert [row["lvolname"] for row in world.call("listLogicalVolumes")] == ["not-yours"]


@pytest.fixture
def stranger(world: World) -> Iterator[int]:
    """A storage server that calls itself and its disk evil things; nothing answers there."""
    server = int(
        world.call("registerStorageServer", ip_data=["127.0.1.99"], site=EVIL, rack=EVIL[::-1])
    )
    world.call(
        "registerPhysicalDisk", ssvrid=server, local_path=EVIL, capacity=str(4 << 21), tags=EVIL
    )
    yield server
    servers = "listStorageServers"
    world.wait(lambda: world.call(servers, ssvrid=server)[0]["priority"] == OFFLINE, "it is out")
    world.call("deleteStorageServer", ssvrid=server)


def test_what_an_evil_node_says_is_text(browser: Browser, world: World, stranger: int) -> None:
    told: list[str] = []
    who = ("admin", manager_processes.admin_password(world.place))
    with signed_in(browser, world.place.url, who, PHONE, "dark") as person:
        person.page.on("dialog", lambda dialog: told.append(dialog.message))
        page = person.go("/admin/console/cluster/")
        expect(page.get_by_text(EVIL, exact=True)).to_be_visible()
        page.locator("summary", has_text=f"ssvr-{stranger:08x}").click()
        expect(page.locator(".vs-branch summary", has_text=EVIL)).to_be_visible()
        for address in (
            f"/admin/inventory/storageserver/{stranger}/change/",
            "/admin/inventory/storageserver/",
            "/admin/inventory/disk/",
            "/admin/inventory/auditentry/",
        ):
            page = person.go(address)
            assert "<img src=x" not in page.content()
        expect(page.locator("img[src=x]")).to_have_count(0)
    assert told == []
