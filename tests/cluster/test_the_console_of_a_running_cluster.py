"""The main job once more, by hand: in Chromium, on a cluster that really runs."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from deploy.local import manager, observe
from tests.cluster.world import World
from tests.console.browsing import Person, chromium, needs_chromium, signed_in

pytestmark = needs_chromium
SLOW = 60_000
"""Milliseconds that real nodes may take."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def person(browser: Browser, world: World) -> Iterator[Person]:
    who = ("admin", manager.admin_password(world.place))
    with signed_in(browser, world.place.url, who) as somebody:
        yield somebody


def _create_and_attach(page: Page, name: str) -> None:
    page.get_by_role("link", name="New volume").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Capacity in GB").fill("4")
    expect(page.locator("#preview")).to_contain_text("fits")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="Attach", exact=True).click()
    page.get_by_label("Head server").select_option(index=1)
    page.get_by_role("button", name="Attach").click()
    _wait_for_the_job(page, name)
    expect(page.locator(".vs-facts")).to_contain_text("attached")


def _wait_for_the_job(page: Page, name: str) -> None:
    """See a job through on its page, and go on to its volume's."""
    expect(page.locator(".vs-pill", has_text="done")).to_be_visible(timeout=SLOW)
    page.locator(".vs-facts").get_by_role("link", name=name, exact=True).click()


def test_a_person_watches_a_rebuild_reach_the_end(world: World, person: Person) -> None:
    page = person.go("/admin/")
    expect(page.get_by_text("All data is safe")).to_be_visible()
    _create_and_attach(page, "watched")
    ledger = world.fill("watched")
    address = page.url

    world.cluster.kill(observe.holder(world.call, world.place, "watched"))

    page.goto(address)
    expect(page.locator(".vs-facts")).to_contain_text("2 of 3", timeout=SLOW)
    page.get_by_role("link", name="rebuild", exact=True).first.click()
    expect(page.locator(".vs-big")).to_have_text("100 %", timeout=SLOW)
    expect(page.locator(".vs-pill", has_text="done")).to_be_visible(timeout=SLOW)
    page.goto(address)
    expect(page.locator(".vs-facts")).to_contain_text("3 of 3", timeout=SLOW)
    assert world.verify("watched", ledger)


def test_a_person_snapshots_detaches_and_deletes(world: World, person: Person) -> None:
    page = person.go("/admin/")
    _create_and_attach(page, "by-hand")

    page.get_by_role("link", name="Snapshot", exact=True).click()
    page.get_by_label("Name").fill("by-hand.frozen")
    page.get_by_role("button", name="Snapshot").click()
    _wait_for_the_job(page, "by-hand")
    assert (world.place.links / "by-hand.frozen").exists()

    page.get_by_role("link", name="Detach", exact=True).click()
    page.get_by_role("button", name="Detach").click()
    _wait_for_the_job(page, "by-hand")
    expect(page.locator(".vs-facts")).to_contain_text("detached")
    assert not (world.place.links / "by-hand").exists()

    for name in ("by-hand.frozen", "by-hand"):
        page.goto(f"{person.url}/admin/volumes/logicalvolume/?q={name}")
        page.get_by_role("link", name=name).first.click()
        page.get_by_role("link", name="Delete", exact=True).click()
        page.get_by_label(f"Type {name} to confirm").fill(name)
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_text(f"Delete {name}: done.")).to_be_visible()
    assert world.call("listLogicalVolumes") == []
