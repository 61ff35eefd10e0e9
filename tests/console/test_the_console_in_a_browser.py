"""The console as a person meets it: in Chromium, by mouse and keyboard, on a desk and a phone."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
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
from volumes.jobs import wakeup
from volumes.models import Attachment, Job, LogicalVolume, Replica

PAGES = [
    "/admin/",
    "/admin/console/problems/",
    "/admin/console/find/?q=1",
    "/admin/console/cluster/",
    "/admin/console/volumes/new/",
    "/admin/console/do/delete-volume/?on=1",
    "/admin/volumes/logicalvolume/",
    "/admin/volumes/logicalvolume/1/change/",
    "/admin/volumes/job/",
    "/admin/volumes/job/1/change/",
    "/admin/inventory/storageserver/1/change/",
    "/admin/inventory/headserver/1/change/",
    "/admin/inventory/disk/3/change/",
]

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


@pytest.fixture(autouse=True)
def root(transactional_db: None) -> User:
    return User.objects.create_superuser(WHO[0], password=WHO[1])


@pytest.fixture
def person(browser: Browser, live_server: LiveServer) -> Iterator[Person]:
    with signed_in(browser, live_server.url, WHO) as somebody:
        yield somebody


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"]
)
def test_no_page_is_wider_than_the_screen_or_hard_to_perceive(
    browser: Browser, live_server: LiveServer, size: ViewportSize, scheme: Scheme
) -> None:
    fill(SMALL, trouble=True)
    found: list[str] = []
    with signed_in(browser, live_server.url, WHO, size, scheme) as person:
        for path in PAGES:
            page = person.go(path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size["width"], path
            found += [f"{path} {what}" for what in serious(page)]
    assert found == []


def test_the_overview_refreshes_itself(person: Person) -> None:
    fill(SMALL)
    page = person.go("/admin/")
    expect(page.get_by_text("All data is safe")).to_be_visible()

    replica = Replica.objects.earliest("pk")
    Replica.objects.filter(mirror=replica.mirror_id).exclude(pk=replica.pk).update(
        status=Replica.Status.FAULTY
    )

    expect(page.get_by_text("Data is at risk")).to_be_visible(timeout=15_000)
    page.get_by_role("link", name="1 volume on one replica").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_refresh_leaves_the_keyboard_where_it_was(person: Person) -> None:
    fill(SMALL)
    page = person.go("/admin/")
    link = page.get_by_role("link", name="every volume has all its replicas")
    link.focus()

    with page.expect_response("**/overview/live/", timeout=15_000):
        pass
    page.wait_for_function("document.querySelector('.htmx-request, .htmx-settling') === null")

    expect(link).to_be_focused()


def test_a_page_left_open_leads_to_the_login_when_the_session_ends(person: Person) -> None:
    fill(SMALL)
    page = person.go("/admin/")

    Session.objects.all().delete()

    expect(page.get_by_role("button", name="Log in")).to_be_visible(timeout=15_000)
    expect(page.locator(".vs-live")).to_have_count(0)


def test_branches_of_the_cluster_are_loaded_when_opened(person: Person) -> None:
    fill(SMALL)
    page = person.go("/admin/console/cluster/")

    page.locator("summary", has_text="ssvr-00000001").click()
    disk = page.locator("summary", has_text="pdsk-00000001")
    disk.wait_for()
    # htmx takes new elements up some milliseconds after it has put them in.
    expect(page.locator(".htmx-added, .htmx-settling")).to_have_count(0)
    disk.focus()
    page.keyboard.press("Enter")
    page.locator(".vs-map a").first.click()

    expect(page.locator("h1")).to_contain_text("Volume ")


def test_a_rebuild_moves_on_a_volumes_page(person: Person) -> None:
    fill(SMALL, trouble=True)
    job = Job.objects.filter(kind=Job.Kind.REBUILD).exclude(extent=None).earliest("pk")
    assert job.mirror is not None
    page = person.go(f"/admin/volumes/logicalvolume/{job.mirror.volume_id}/change/")
    replica = page.locator(".vs-replica", has_text="rebuilding").first

    Job.objects.filter(pk=job.pk).update(done_mib=job.total_mib * 9 // 10)

    expect(replica).to_contain_text("90 %", timeout=10_000)


def test_a_person_creates_snapshots_and_deletes_a_volume(person: Person) -> None:
    fill(SMALL)
    page = person.go("/admin/console/volumes/new/")
    page.get_by_label("Name").fill("by-hand")
    page.get_by_label("Capacity in GiB").fill("1048576")
    expect(page.locator("#preview")).to_contain_text("does not fit")
    page.get_by_label("Capacity in GiB").fill("20")
    expect(page.locator("#preview")).to_contain_text("2 mirrors")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Volume by-hand is created.")).to_be_visible()

    page.get_by_role("link", name="Snapshot", exact=True).click()
    page.get_by_label("Name").fill("by-hand.frozen")
    page.get_by_role("button", name="Snapshot").click()
    expect(page.locator(".vs-layer").first).to_contain_text("by-hand.frozen")

    page.get_by_role("link", name="by-hand.frozen").first.click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_label("Type by-hand.frozen to confirm").fill("by-hand.frozen")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Delete by-hand.frozen: done.")).to_be_visible()
    assert list(LogicalVolume.objects.filter(name__startswith="by-hand").values_list("name")) == [
        ("by-hand",)
    ]


def test_many_volumes_are_detached_from_the_list(person: Person) -> None:
    fill(SMALL)
    page = person.go("/admin/volumes/logicalvolume/?attached=bound")
    chosen = Attachment.objects.filter(state=Attachment.State.BOUND).count()

    page.locator("#action-toggle").first.check()
    page.locator("select[name=action]").select_option("detach")
    page.get_by_role("button", name="Run").first.click()
    page.get_by_role("button", name="Detach").click()

    expect(page.locator("h1")).to_contain_text("Volumes")
    assert Attachment.objects.filter(state=Attachment.State.UNBINDING).count() == chosen
