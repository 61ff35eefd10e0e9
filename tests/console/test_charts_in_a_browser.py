"""Charts as a person meets them: drawn, kept by polls, told as a table and in a sentence."""

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import fill
from tests.console.browsing import (
    DESK,
    PHONE,
    Person,
    Scheme,
    chromium,
    needs_chromium,
    serious,
    signed_in,
)
from tests.console.conftest import SMALL
from tests.console.sampled import fill_samples
from volumes.models import Attachment
from volumes.sample_models import ShownVolume

WHO = ("root", "open-sesame-7")
pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]
POLLED = 4000
"""A volume's page asks again every 3 s."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(autouse=True)
def root(transactional_db: None) -> User:
    fill(SMALL)
    return User.objects.create_superuser(WHO[0], password=WHO[1])


@pytest.fixture
def person(browser: Browser, live_server: LiveServer) -> Iterator[Person]:
    with signed_in(browser, live_server.url, WHO) as somebody:
        yield somebody


def _is_drawn(person: Person) -> bool:
    """Tell whether any line was put on the first canvas."""
    drawn: bool = person.page.evaluate(
        """() => {
          const canvas = document.querySelector(".vs-chart canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value) => value > 0);
        }"""
    )
    return drawn


def test_what_was_unfolded_and_drawn_outlives_polls(person: Person) -> None:
    bound = Attachment.objects.filter(state=Attachment.State.BOUND).earliest("pk")
    volume = bound.volume_id
    fill_samples({"volume": [volume], "cluster": [0]}, hours=0)  # type: ignore[dict-item]
    ShownVolume.objects.create(
        volume=bound.volume, folder="/dev/vas", way="block", clients=0, held_mib=0
    )
    page = person.go(f"/admin/volumes/logicalvolume/{volume}/change/")
    expect(page.locator(".vs-chart canvas")).to_have_count(4)
    page.get_by_text("How to use it on its head").click()
    page.get_by_text("All mirrors with their replicas").click()
    page.get_by_role("button", name="day").click()
    expect(page.locator("#layers-all .vs-replica").first).to_be_visible()

    bound.volume.name = "renamed-meanwhile"
    bound.volume.save(update_fields=["name"])

    expect(page.locator("main .vs-node", has_text="renamed-meanwhile").first).to_be_visible()
    page.wait_for_timeout(POLLED)
    expect(page.locator("main .vs-chart canvas")).to_have_count(4)
    expect(page.get_by_role("button", name="day")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("main #layers-all .vs-replica").first).to_be_visible()
    page.locator("main [data-copy]").first.click()
    expect(page.locator("main .vs-copied")).to_have_count(1)
    assert _is_drawn(person)


def test_a_table_and_a_sentence_tell_what_a_chart_draws(
    browser: Browser, live_server: LiveServer
) -> None:
    fill_samples(minutes=3, hours=0)
    with signed_in(browser, live_server.url, WHO) as person:
        page = person.go("/admin/inventory/disk/1/change/")
        page.get_by_text("As a table").click()
        rows = page.locator(".vs-chart-table tbody tr")

        expect(rows).to_have_count(3)
        expect(rows.first).to_contain_text("KiB/s")
        canvas = page.locator(".vs-chart canvas").first
        expect(canvas).to_have_attribute(
            "aria-label", re.compile(r"Requests: reads [\d.]+/s, most")
        )


def test_a_page_without_figures_says_since_when_there_are_some(person: Person) -> None:
    page = person.go("/admin/inventory/storageserver/1/change/")
    expect(page.locator(".vs-chart-state")).to_contain_text("they begin with the first full minute")

    fill_samples({}, minutes=5, hours=0)
    page.reload()

    expect(page.locator(".vs-chart-state")).to_contain_text("Figures are kept since")


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"]
)
def test_charts_are_no_wider_than_the_screen_and_hard_for_nobody(
    browser: Browser, live_server: LiveServer, size: ViewportSize, scheme: Scheme
) -> None:
    fill_samples(minutes=120, hours=0)
    with signed_in(browser, live_server.url, WHO, size, scheme) as person:
        page = person.go("/admin/")
        expect(page.locator(".vs-chart canvas")).to_have_count(6)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert serious(page) == []
