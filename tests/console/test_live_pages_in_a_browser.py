"""Pages that stay open: their buttons after a refresh, silence, what is deleted meanwhile."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import fill
from inventory import clock
from inventory.models import Disk, Priority, StorageServer
from tests.console.browsing import Person, after_a_poll, chromium, needs_chromium, signed_in
from tests.console.conftest import SMALL
from volumes.jobs import wakeup
from volumes.models import Attachment, Job, LogicalVolume

WHO = ("root", "open-sesame-7")
pytestmark = [pytest.mark.django_db(transaction=True), needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(autouse=True)
def nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no broker here."""
    monkeypatch.setattr(wakeup, "wake", lambda job_id: None)


@pytest.fixture
def elsewhere(transactional_db: None) -> Client:
    """The same person at another desk."""
    client = Client()
    client.force_login(User.objects.create_superuser(WHO[0], password=WHO[1]))
    return client


@pytest.fixture
def person(elsewhere: Client, browser: Browser, live_server: LiveServer) -> Iterator[Person]:
    fill(SMALL)
    with signed_in(browser, live_server.url, WHO) as somebody:
        yield somebody


def _button(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()


def test_a_job_is_paused_and_goes_on_after_its_page_was_refreshed(
    person: Person, elsewhere: Client
) -> None:
    elsewhere.post("/admin/console/do/evacuate-storage/", {"on": 1})
    job = Job.objects.get(kind=Job.Kind.EVACUATE)
    page = person.go(f"/admin/volumes/job/{job.pk}/change/")

    for name, paused in (("Pause", True), ("Go on", False)):
        after_a_poll(page, f"/jobs/{job.pk}/live/")
        _button(page, name)
        page.get_by_role("button", name=name).click()
        expect(page.locator("h1")).to_contain_text(f"Job {job.pk}")
        expect(page.get_by_role("link", name="Overview").first).to_be_visible()
        job.refresh_from_db()
        assert job.paused == paused


def test_going_back_from_a_preview_leads_to_a_whole_page(person: Person) -> None:
    volume = LogicalVolume.objects.filter(attachment=None, origin=None).earliest("pk")
    page = person.go(f"/admin/volumes/logicalvolume/{volume.pk}/change/")

    after_a_poll(page, "/volumes/*/live/**")
    _button(page, "Attach")
    page.get_by_role("link", name="Back", exact=True).click()

    expect(page.locator("h1")).to_contain_text(f"Volume {volume.name}")


def test_a_manager_that_hangs_is_noticed_within_seconds_and_forgiven(person: Person) -> None:
    page = person.go("/admin/")
    expect(page.get_by_text("All data is safe")).to_be_visible()

    page.route("**/overview/live/", lambda _: None)
    expect(page.locator(".vs-stale-bar")).to_contain_text("does not answer", timeout=11_000)

    page.unroute("**/overview/live/")
    expect(page.locator(".vs-stale-bar")).to_have_count(0, timeout=15_000)


def test_a_volume_deleted_elsewhere_says_so_and_offers_nothing(
    person: Person, elsewhere: Client
) -> None:
    free = LogicalVolume.objects.filter(attachment=None, origin=None, snapshots=None)
    volume = free.earliest("pk")
    page = person.go(f"/admin/volumes/logicalvolume/{volume.pk}/change/")
    expect(page.get_by_role("link", name="Delete")).to_be_visible()

    elsewhere.post("/admin/console/do/delete-volume/", {"on": volume.pk, "phrase": volume.name})

    expect(page.get_by_text(f"Volume {volume.name} was deleted")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("link", name="Delete")).to_have_count(0)
    page.wait_for_timeout(9_000)
    expect(page.locator(".vs-stale-bar")).to_have_count(0)


def test_a_list_is_live_and_what_is_chosen_stays_chosen(person: Person) -> None:
    page = person.go("/admin/volumes/logicalvolume/?attached=bound")
    bound = Attachment.objects.filter(state=Attachment.State.BOUND, volume__snapshots=None)
    one = bound.select_related("volume").earliest("pk")
    row = page.locator(".data-row", has_text=one.volume.name)
    row.locator("input.action-select").check()

    LogicalVolume.objects.filter(pk=one.volume_id).update(waiting_since=clock.now())

    expect(row).to_contain_text("waiting for storage", timeout=20_000)
    expect(row.locator("input.action-select")).to_be_checked()
    expect(page.locator("select[name=action]")).to_be_visible()


def test_a_list_takes_up_new_rows_which_can_be_chosen(person: Person) -> None:
    page = person.go("/admin/inventory/storageserver/")
    StorageServer.objects.create(pk=99, rack="fresh")

    row = page.locator(".data-row", has_text="ssvr-00000063")
    expect(row).to_be_visible(timeout=20_000)
    page.locator("#action-toggle").first.check()
    expect(row.locator("input.action-select")).to_be_checked()


def test_an_open_branch_stays_open_and_its_lines_change(person: Person) -> None:
    page = person.go("/admin/console/cluster/")
    page.locator("summary", has_text="ssvr-00000001").click()
    disk = page.locator("summary", has_text="pdsk-00000001")
    expect(disk).to_contain_text("up")

    Disk.objects.filter(pk=1).update(priority=Priority.FAULTY)
    StorageServer.objects.filter(pk=1).update(priority=Priority.LOW)

    expect(disk).to_contain_text("faulty", timeout=20_000)
    expect(page.locator("summary", has_text="ssvr-00000001")).to_contain_text("second choice")
    expect(disk).to_be_visible()
