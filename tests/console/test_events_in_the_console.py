"""Events in the console: the list with its filters, sections on pages, and CSV."""

import csv
import io

import pytest
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory import events
from inventory.events import Happening, Kind, Object, Severity
from inventory.models import Disk, EventEntry, HeadServer, StorageServer
from tests.console.conftest import PART, SignIn
from volumes.models import LogicalVolume

pytestmark = pytest.mark.usefixtures("well")

LIST = "/admin/inventory/evententry/"
PAGES: dict[type[Model], str] = {
    LogicalVolume: "/admin/volumes/logicalvolume/{}/change/",
    HeadServer: "/admin/inventory/headserver/{}/change/",
    StorageServer: "/admin/inventory/storageserver/{}/change/",
    Disk: "/admin/inventory/disk/{}/change/",
}

LIVE: dict[type[Model], str] = {
    LogicalVolume: "volumes",
    HeadServer: "heads",
    StorageServer: "servers",
    Disk: "disks",
}


def happens(model: type[Model], cause: str, severity: EventEntry.Severity = Severity.ERROR) -> int:
    row = model._default_manager.earliest("pk")
    with transaction.atomic():
        events.tell(Kind.OFFLINE, severity, row, cause, job=7)
    return int(row.pk)


def text(client: Client, url: str, **headers: str) -> str:
    answer = client.get(url, headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("model", PAGES)
def test_a_page_tells_what_happened_to_it_and_leads_to_all(
    console: Client, model: type[Model]
) -> None:
    number = happens(model, "somebody <b>pulled</b> the plug")
    page = text(console, PAGES[model].format(number))

    assert "somebody &lt;b&gt;pulled&lt;/b&gt; the plug" in page
    assert "/admin/volumes/job/7/change/" in page
    everything = f"{LIST}?object_kind__exact={Object(events.OBJECTS[model.__name__.lower()])}"
    assert f"{everything}&amp;object_id={number}" in page
    assert "pulled" in text(console, f"{everything}&object_id={number}")


@pytest.mark.parametrize("model", PAGES)
def test_a_page_that_is_open_hears_of_what_happens(console: Client, model: type[Model]) -> None:
    number = happens(model, "the first")
    live = LIVE[model]
    happens(model, "the second")

    assert "the second" in text(console, f"/admin/console/{live}/{number}/live/", **PART)


def test_the_list_is_filtered_by_what_is_bad_at_least(console: Client) -> None:
    happens(Disk, "merely told", Severity.INFO)
    happens(Disk, "to be looked at", Severity.WARNING)
    happens(Disk, "much worse", Severity.ERROR)

    both = text(console, f"{LIST}?least=2")
    assert "merely told" not in both
    assert "to be looked at" in both
    assert "much worse" in both
    assert "to be looked at" not in text(console, f"{LIST}?least=3")
    assert "merely told" in text(console, f"{LIST}?least=x")


def test_an_event_leads_to_what_it_is_about(console: Client) -> None:
    number = happens(Disk, "one")
    event = EventEntry.objects.latest("pk")

    answer = console.get(f"{LIST}{event.pk}/change/")
    assert answer["Location"] == PAGES[Disk].format(number)
    for nothing in (event.pk + 1, 10**30, "x"):
        assert console.get(f"{LIST}{nothing}/change/").status_code == 404


def test_the_list_is_live(console: Client) -> None:
    happens(Disk, "just now")

    rows = text(console, LIST, **PART)
    assert "just now" in rows
    assert "<html" not in rows


def test_events_leave_as_csv_that_no_spreadsheet_runs(console: Client) -> None:
    happens(Disk, "=1+1")
    happens(LogicalVolume, "left out", Severity.INFO)

    answer = console.get(f"{LIST}csv/?least=3")
    assert answer.streaming
    (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode()))
    assert (row["severity"], row["cause"], row["job"]) == ("error", "'=1+1", "7")


def test_who_may_not_look_sees_no_events(sign_in: SignIn) -> None:
    assert sign_in("").get(LIST).status_code == 403
    assert sign_in("viewer").get(LIST).status_code == 200
    assert Client().get(f"{LIST}csv/").status_code == 302


def test_thousands_of_events_cost_no_more_than_a_few(console: Client) -> None:
    disk = happens(Disk, "one")
    console.get(LIST)
    with CaptureQueriesContext(connection) as few:
        text(console, LIST)
    many = (
        Happening(Severity(1 + number % 3), disk, f"pdsk-{disk:08x}", f"cause {number}")
        for number in range(3000)
    )
    with transaction.atomic():
        events.tell_all(Kind.OFFLINE, Object.DISK, many)

    with CaptureQueriesContext(connection) as captured:
        text(console, LIST)
    assert len(captured) == len(few)
