"""The list of events before a person: on a desk and on a phone, while things happen."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from playwright.sync_api import Browser, ViewportSize, expect
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import fill
from inventory import events
from inventory.events import Kind, Severity
from inventory.models import Disk
from tests.console.browsing import DESK, PHONE, chromium, needs_chromium, serious, signed_in
from tests.console.conftest import SMALL
from volumes.models import LogicalVolume

WHO = ("root", "open-sesame-7")
LIST = "/admin/inventory/evententry/"
pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def troubled(transactional_db: None) -> None:
    User.objects.create_superuser(WHO[0], password=WHO[1])
    fill(SMALL)
    disk, volume = Disk.objects.earliest("pk"), LogicalVolume.objects.earliest("pk")
    with transaction.atomic():
        events.tell(Kind.UP, Severity.INFO, disk, "new, 1500 GB, /dev/sdb of ssvr-00000001")
        events.tell(Kind.OFFLINE, Severity.ERROR, disk, "with its server ssvr-00000001")
        lost = "1 replica is good no more: its server or disk does not answer; fewest left: 2"
        events.tell(Kind.DEGRADED, Severity.WARNING, volume, lost)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.usefixtures("troubled")
def test_the_list_shows_what_happens_and_leads_to_it(
    browser: Browser, live_server: LiveServer, size: ViewportSize
) -> None:
    with signed_in(browser, live_server.url, WHO, size) as person:
        page = person.go(LIST)
        assert serious(page) == []
        disk = Disk.objects.earliest("pk")
        with transaction.atomic():
            events.tell(Kind.UP, Severity.INFO, disk, "it is back again")
        expect(page.get_by_text("it is back again").first).to_be_visible(timeout=20_000)
        page.get_by_role("link", name=str(disk)).first.click()
        section = page.locator("#events-here")
        expect(section.get_by_text("it is back again")).to_be_visible()
        section.get_by_role("link", name="all", exact=True).click()
        expect(page.get_by_text("with its server ssvr-00000001").first).to_be_visible()
