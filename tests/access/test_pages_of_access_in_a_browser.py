"""Tokens, people and the audit log in Chromium, under the Content-Security-Policy."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import fill
from inventory.models import AuditEntry
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
from vastsky_site.access import tokens
from vastsky_site.access.login import guesses

WHO = ("root", "open-sesame-7")
AUDIT = "/admin/inventory/auditentry/"
TOKENS = "/admin/vastsky_site/apitoken/"
PEOPLE = "/admin/auth/user/"
ACCESS = [AUDIT, TOKENS, "/admin/access/tokens/new/", PEOPLE, f"{PEOPLE}1/change/", f"{PEOPLE}add/"]
OTHERS = [
    "/admin/",
    "/admin/console/problems/",
    "/admin/console/cluster/",
    "/admin/console/volumes/new/",
    "/admin/volumes/logicalvolume/",
    "/admin/volumes/logicalvolume/1/change/",
    "/admin/volumes/job/1/change/",
    "/admin/inventory/disk/3/change/",
    "/admin/password_change/",
]
SHOTS = os.environ.get("SCREENSHOTS", "")
"""Where pictures of the pages are put for a person to look at."""

pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def person(transactional_db: None, browser: Browser, live_server: LiveServer) -> Iterator[Person]:
    fill(SMALL)
    for role in ("viewer", "operator", "admin"):
        Group.objects.get_or_create(name=role)
    User.objects.create_superuser(WHO[0], password=WHO[1], pk=1)
    for name, role in (("node-1", "agent"), ("backup", "operator"), ("old", "reader")):
        tokens.create_token(name=name, role=role)
    tokens.revoke_token("old")
    guesses.clear()
    with signed_in(browser, live_server.url, WHO) as person:
        yield person


def violations(page: Page) -> list[str]:
    """Collect what the policy forbids from now on."""
    found: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            found.append(f"{page.url}: {message.text}")

    page.on("console", listen)
    return found


def take_picture(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def test_no_page_breaks_the_policy(person: Person) -> None:
    found = violations(person.page)

    for path in [*ACCESS, *OTHERS]:
        page = person.go(path)
        page.wait_for_load_state("networkidle")

    assert found == []


def test_a_script_in_a_page_does_not_run(person: Person) -> None:
    page = person.go(AUDIT)
    found = violations(page)

    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.ran = true'}))"
    )

    assert page.evaluate("window.ran") is None
    assert found


def test_unfolds_own_controls_work_under_the_policy(person: Person) -> None:
    page = person.go(AUDIT)
    found = violations(page)

    page.locator(".vs-filters summary").filter(has_text="Verb").click()
    expect(page.get_by_role("link", name="create token", exact=True).first).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_text("root", exact=True).first.click()
    expect(page.get_by_role("link", name="Change password")).to_be_visible()

    assert found == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_is_wider_than_the_screen(
    person: Person, scheme: str
) -> None:
    page = person.page
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
    found: list[str] = []
    for path in ACCESS:
        for size, where in ((DESK, "desk"), (PHONE, "phone")):
            page.set_viewport_size(size)
            person.go(path)
            take_picture(page, f"{path.strip('/').replace('/', '-')}-{scheme}-{where}")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
        found += [f"{path} {what}" for what in serious(page)]

    assert found == []


def test_a_token_is_made_used_and_revoked(person: Person) -> None:
    page = person.go(TOKENS)
    page.get_by_role("link", name="New token").click()
    page.fill("[name=name]", "from-the-page")
    page.select_option("[name=role]", "monitor")
    page.get_by_role("button", name="Make and show it").click()
    text = page.locator("#token").inner_text()
    take_picture(page, "token-made")

    assert tokens.find_token("from-the-page", text)
    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_text("from-the-page")).to_be_visible()
    assert text not in page.content()
    assert AuditEntry.objects.filter(verb="create_token", actor=WHO[0]).exists()
