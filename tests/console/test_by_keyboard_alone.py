"""The console by keyboard alone, by finger, and as it is read aloud."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import fill
from inventory.models import HeadServer, Priority
from tests.console.browsing import (
    DESK,
    PHONE,
    Person,
    chromium,
    needs_chromium,
    serious,
    signed_in,
)
from tests.console.conftest import SMALL
from volumes.jobs import wakeup
from volumes.models import LogicalVolume

WHO = ("root", "open-sesame-7")
PAGES = [
    "/admin/",
    "/admin/console/problems/",
    "/admin/console/cluster/",
    "/admin/console/find/?q=1",
    "/admin/console/volumes/new/",
    "/admin/console/do/delete-volume/?on=1",
    "/admin/volumes/logicalvolume/?attached=bound",
    "/admin/volumes/logicalvolume/1/change/",
    "/admin/inventory/evententry/",
    "/admin/inventory/auditentry/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/password_change/",
    "/admin/vastsky_site/apitoken/",
]
TARGETS = (
    ".vs-button, .vs-chip, .vs-search, .vs-find-opener, #header-inner button, #nav-sidebar li a"
)
FEW_TABS = 12
"""Stops from the top of a page to what a person wants; it took 21 to a name field once."""
pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(autouse=True)
def cluster(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)
    User.objects.create_superuser(WHO[0], password=WHO[1])
    fill(SMALL)


@pytest.fixture
def person(browser: Browser, live_server: LiveServer) -> Iterator[Person]:
    with signed_in(browser, live_server.url, WHO, DESK) as somebody:
        yield somebody


def _type(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _tabs_to(page: Page, link: str) -> int:
    """Walk to a link; how many stops there were."""
    wanted = page.get_by_role("link", name=link, exact=True).first
    for tabs in range(1, 50):
        _type(page, "Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return tabs
    raise AssertionError(f"{link} is not reached")


def test_every_page_has_one_main_a_way_to_it_and_no_icon_that_is_read_aloud(
    person: Person,
) -> None:
    for path in PAGES:
        page = person.go(path)
        assert page.locator("main").count() == 1, path
        assert page.locator(".vs-skip[href='#content']").count() == 1, path
        icons = page.locator(".material-symbols-outlined:not([aria-hidden=true])")
        assert icons.count() == 0, path


def test_the_way_past_the_menu_is_the_first_stop(person: Person) -> None:
    page = person.go("/admin/volumes/job/")

    _type(page, "Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    _type(page, "Enter", "Tab")

    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_volume_is_created_and_attached_without_a_mouse(person: Person) -> None:
    HeadServer.objects.exclude(pk=1).update(priority=Priority.OFFLINE)
    page = person.go("/admin/")
    assert _tabs_to(page, "New volume") <= FEW_TABS
    _type(page, "Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("no name")
    _type(page, "Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert").first).to_be_visible()

    _type(page, "Control+a")
    page.keyboard.type("by-keyboard")
    _type(page, "Tab", "Control+a")
    page.keyboard.type("20")
    _type(page, "Enter")
    expect(page.get_by_text("Volume by-keyboard is created.")).to_be_visible()

    volume = LogicalVolume.objects.get(name="by-keyboard")
    _type(page, "Tab", "Enter")  # past the menu
    assert _tabs_to(page, "Attach") <= FEW_TABS
    _type(page, "Enter")
    expect(page.get_by_label("Head server")).to_be_focused()
    expect(page.get_by_label("Head server")).to_have_value("1")
    while page.evaluate("document.activeElement.type") != "submit":
        _type(page, "Tab")
    _type(page, "Enter")
    expect(page.locator("h1")).to_contain_text("by-keyboard")
    assert volume.attachment.head_id == 1


def test_the_menu_of_the_account_opens_and_closes_by_keyboard(person: Person) -> None:
    page = person.go("/admin/")
    opener = page.get_by_role("button", name="Account and appearance")

    opener.focus()
    _type(page, "Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.get_by_role("button", name="Dark").focus()
    _type(page, "Enter")
    expect(page.locator("html.dark")).to_have_count(1)
    assert serious(page) == []

    _type(page, "Escape")
    expect(opener).to_be_focused()
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()


def test_a_filter_is_set_by_keyboard(person: Person) -> None:
    page = person.go("/admin/volumes/logicalvolume/")
    summary = page.locator(".vs-filters summary", has_text="Attachment")

    summary.focus()
    _type(page, "Enter", "Escape")
    expect(summary).to_be_focused()
    expect(page.get_by_role("link", name="detached", exact=True)).to_be_hidden()
    _type(page, "Enter", "Tab", "Tab", "Enter")

    expect(page.locator(".vs-chip.vs-set")).to_contain_text("detached")


def test_a_finger_finds_what_it_aims_at_and_a_row_is_short(
    browser: Browser, live_server: LiveServer
) -> None:
    with signed_in(browser, live_server.url, WHO, PHONE, "dark") as person:
        page = person.go("/admin/volumes/logicalvolume/?attached=bound")
        page.get_by_role("button", name="Menu").click()
        shown = [box for one in page.locator(TARGETS).all() if (box := one.bounding_box())]
        assert len(shown) > 20
        assert [box for box in shown if box["height"] < 44] == []
        _type(page, "Escape")

        heights = [
            box["height"] for row in page.locator(".data-row").all() if (box := row.bounding_box())
        ]
        assert max(heights) < 110
        assert serious(page) == []


def test_nothing_moves_for_who_does_not_like_it(browser: Browser, live_server: LiveServer) -> None:
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{live_server.url}/admin/login/")

    moving = (
        "[...document.querySelectorAll('*')].filter((one) => "
        "parseFloat(getComputedStyle(one).transitionDuration) > 0.001).length"
    )
    assert page.evaluate(moving) == 0
    page.close()
