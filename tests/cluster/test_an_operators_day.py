"""A quiet day in Chromium: found, sorted, detached, foreseen and looked up on a real cluster."""

import re
import tarfile

from playwright.sync_api import expect

from deploy.local.place import STORAGES
from tests.cluster.conftest import SLOW
from tests.cluster.world import World
from tests.console.browsing import Person, needs_chromium

pytestmark = needs_chromium
VOLUMES = "/admin/volumes/logicalvolume/"


def test_a_day_from_a_search_to_a_support_bundle(world: World, person: Person) -> None:
    for name in ("day-one", "day-two", "idle"):
        world.create(name, capacity=1)
    for name in ("day-one", "day-two"):
        world.attach(name)
    world.fill("day-one", blocks=4)

    _finds_a_volume(person)
    _sorts_and_filters_the_list(person)
    _detaches_all_that_match(world, person)
    _foresees_a_loss(person)
    _looks_at_the_paths(person)
    _looks_things_up(person)
    _takes_the_support_bundle(person)


def _finds_a_volume(person: Person) -> None:
    page = person.go("/admin/")
    page.keyboard.press("Control+k")
    page.keyboard.type("day-one")
    found = page.get_by_role("dialog", name="Find").get_by_role("link", name="day-one")
    expect(found.first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("day-one")
    for question in ("Is it well?", "Who uses it?", "How does it perform?", "What can be done?"):
        expect(page.get_by_role("heading", name=question)).to_be_visible()
    expect(page.locator(".vs-facts").first).to_contain_text("3 of 3")


def _sorts_and_filters_the_list(person: Person) -> None:
    page = person.go(VOLUMES)
    page.locator("#result_list thead").get_by_role("link", name="Volume", exact=True).click()
    page.locator(".vs-filters summary", has_text="Attachment").click()
    page.get_by_role("link", name="attached", exact=True).click()
    expect(page.locator(".vs-chip.vs-set")).to_contain_text("attached")
    expect(page.locator("tbody th .vs-name")).to_have_text(
        [re.compile("day-one"), re.compile("day-two")]
    )
    page.locator(".vs-chip.vs-set").get_by_role("link").click()
    expect(page.locator("tbody tr")).to_have_count(3)


def _detaches_all_that_match(world: World, person: Person) -> None:
    page = person.go("/admin/console/do/detach/all/?match=q%3Dday-")
    expect(page.locator("main h2").first).to_contain_text("2 of 2 will be done")
    page.locator("main").get_by_role("button", name="Detach").click()
    became = page.locator("section[aria-labelledby=batch]")
    expect(became.locator("tbody .vs-pill", has_text="done")).to_have_count(2, timeout=SLOW)
    assert [world.state(name) for name in ("day-one", "day-two")] == [(0, 0)] * 2


def _foresees_a_loss(person: Person) -> None:
    page = person.go("/admin/console/placement/")
    page.get_by_label("A site, rack or server").select_option(index=1)
    page.get_by_role("button", name="Foresee").click()
    expect(page.locator("section[aria-labelledby=what-if]")).to_contain_text("no data is lost")


def _looks_at_the_paths(person: Person) -> None:
    page = person.go("/admin/console/paths/")
    sums = page.get_by_role("region", name="From heads to storage servers, by both networks")
    expect(sums).to_contain_text(re.compile(rf"{2 * STORAGES}\s+✓ ok"), timeout=SLOW)


def _looks_things_up(person: Person) -> None:
    page = person.go("/admin/settings/")
    expect(page.get_by_text("VASTSKY_GRACE_SECONDS").first).to_be_visible()
    page.get_by_role("link", name="Manual").first.click()
    page.locator("main").get_by_role("link", name="Failure, rebuild and shred").click()
    expect(page.locator("h1")).to_contain_text("Failure, rebuild and shred")


def _takes_the_support_bundle(person: Person) -> None:
    person.go("/admin/")
    person.page.get_by_role("link", name="Support bundle").click()
    with person.page.expect_download(timeout=SLOW) as download:
        person.page.get_by_role("link", name="Download").click()
    with tarfile.open(download.value.path()) as bundle:
        names = bundle.getnames()
        agents = [name for name in names if name.endswith("agent.log") and "/nodes/" in name]
        first = bundle.extractfile(agents[0])
        assert first
        assert b"listening on" in first.read()
    assert any(name.endswith("problems.txt") for name in names)
    assert len(agents) == STORAGES + 1
    assert any(name.endswith("data.log") for name in names)
