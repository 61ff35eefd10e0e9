"""Somebody finds things by keyboard alone, on any page, on a desk and a phone."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import fill
from tests.console.browsing import DESK, PHONE, chromium, needs_chromium, serious, signed_in
from tests.console.conftest import SMALL
from volumes.models import LogicalVolume

WHO = ("root", "open-sesame-7")
pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(autouse=True)
def cluster(transactional_db: None) -> None:
    User.objects.create_superuser(WHO[0], password=WHO[1])
    fill(SMALL, trouble=True)


def test_ctrl_k_and_slash_open_the_box_and_the_keyboard_is_enough(
    browser: Browser, live_server: LiveServer
) -> None:
    volume = LogicalVolume.objects.filter(origin=None).latest("pk")
    LogicalVolume.objects.filter(pk=volume.pk).update(name="the-needle")
    with signed_in(browser, live_server.url, WHO, DESK) as person:
        page = person.go("/admin/volumes/job/")
        box = page.get_by_role("dialog", name="Find")
        field = box.get_by_role("searchbox")

        page.keyboard.press("/")
        expect(field).to_be_focused()
        page.keyboard.press("Escape")
        expect(box).to_be_hidden()
        page.keyboard.press("Control+k")
        page.keyboard.type("10.")
        expect(box.get_by_role("link").first).to_be_visible()
        assert serious(page) == []

        field.fill("needle")
        expect(box.get_by_role("link", name="the-needle").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        expect(box.get_by_role("link", name="the-needle").first).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(field).to_be_focused()
        page.keyboard.press("Enter")

        expect(page.locator("h1")).to_contain_text("the-needle")


def test_who_types_faster_than_the_manager_answers_is_led_there_all_the_same(
    browser: Browser, live_server: LiveServer
) -> None:
    with signed_in(browser, live_server.url, WHO, PHONE, "dark") as person:
        page = person.go("/admin/")
        page.get_by_role("link", name="Find").click()
        page.keyboard.type("ssvr-00000002")
        page.keyboard.press("Enter")

        expect(page.locator("h1")).to_contain_text("ssvr-00000002")
