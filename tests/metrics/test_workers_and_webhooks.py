"""/metrics tells who does the manager's work, and which receivers of events take nothing."""

from datetime import timedelta

from django.db.models import F

from inventory import events, webhooks, workers
from inventory.models import EventEntry, Webhook, Worker
from tests.metrics.conftest import Read
from tests.metrics.scrape import Scrape

Severity = EventEntry.Severity


def states(told: Scrape) -> dict[str, float]:
    return told.values("vastsky_workers", "state")


def add_webhook(name: str) -> Webhook:
    return webhooks.add_webhook(
        name=name, url="http://127.0.0.1:1/", severity=Severity.INFO, kinds=[]
    )[0]


def tell_one() -> None:
    events.tell(EventEntry.Kind.CHANGED, Severity.INFO, "the cluster")


def test_workers_are_told_by_whether_they_tick_and_by_their_release(scrape: Read) -> None:
    assert states(scrape()) == {"ticking": 0, "still": 0}
    for token in ("away", "replaced", "b", "c"):
        workers.tick(token)
    Worker.objects.filter(pk="away").update(host="north")
    gone = Worker.objects.filter(pk__in=["away", "replaced"])
    gone.update(at=F("at") - timedelta(minutes=2), version="4.9.9")
    Worker.objects.filter(pk="b").update(version="5.0.0")

    told = scrape()

    assert states(told) == {"ticking": 2, "still": 1}
    releases = told.values("vastsky_worker_releases", "version")
    assert releases == {"5.0.0": 1, Worker.objects.get(pk="c").version: 1}


def test_a_webhook_is_told_by_how_long_it_fails_and_how_far_behind_it_is(scrape: Read) -> None:
    assert "vastsky_webhook_failing_seconds" not in scrape().families
    tell_one()
    EventEntry.objects.all().delete()  # and so their numbers begin somewhere
    add_webhook("well")
    row = add_webhook("pager")
    webhooks.note_failure(row, "connection refused")
    Webhook.objects.filter(pk=row.pk).update(failing_since=F("failing_since") - timedelta(hours=1))
    tell_one()

    told = scrape()

    seconds = told.values("vastsky_webhook_failing_seconds", "webhook")
    assert seconds["well"] == 0
    assert 3600 <= seconds["pager"] < 3700
    assert told.value("vastsky_webhook_events_behind", webhook="pager") == 1
