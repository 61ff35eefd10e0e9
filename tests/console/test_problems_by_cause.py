"""What has one cause is one card, with the true number of what suffers from it."""

from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import Settings

from inventory import clock
from inventory.models import Disk, Priority, StorageServer, Watch
from tests.console.conftest import PART
from tests.jobs.simulator import free_port
from volumes.models import Job, LogicalVolume, Replica
from volumes.reports import problems
from volumes.reports.problems import Risk, causes
from volumes.worker import broker_watch

PROBLEMS = "/admin/console/problems/"


def _cards() -> list[causes.Card]:
    return causes.by_cause(problems.find())


def _lose(server: int) -> int:
    """Let a server be out with all its replicas; how many volumes that hits."""
    long_ago = clock.now() - timedelta(hours=1)
    StorageServer.objects.filter(pk=server).update(
        priority=Priority.OFFLINE, priority_since=long_ago, silent_since=long_ago
    )
    gone = Replica.objects.filter(server=server)
    gone.update(status=Replica.Status.FAULTY, reason="silent")
    return gone.values("mirror__volume").distinct().count()


def test_a_dead_server_is_one_card_whatever_hangs_on_it(well: None) -> None:
    volumes = _lose(2)
    for replica in Replica.objects.filter(server=2)[:3]:
        Job.objects.create(
            id=5000 + replica.pk,
            kind=Job.Kind.REBUILD,
            subject=str(replica.mirror),
            volume=replica.mirror.volume,
            mirror=replica.mirror,
            due=clock.now() - timedelta(hours=1),
        )

    (card,) = _cards()

    assert card.key == "storageserver-2"
    assert card.problem.about == StorageServer.objects.get(pk=2)
    counted = {victims.kind.more: victims.count for victims in card.victims}
    assert counted.pop("jobs do not get on") == 3
    assert sum(counted.values()) == volumes


def test_the_risk_of_a_card_is_that_of_the_data_behind_it(well: None) -> None:
    _lose(2)
    pair = LogicalVolume.objects.filter(mirrors__replicas__server=2, redundancy=2).first()
    assert pair is not None
    Disk.objects.filter(server=4).update(priority=Priority.FAULTY)

    first, *others = _cards()

    assert (first.key, first.risk) == ("storageserver-2", Risk.LAST_REPLICA)
    assert {card.risk for card in others} == {Risk.FAILED}


def test_victims_are_counted_and_lead_to_the_list_of_just_them(well: None, console: Client) -> None:
    _lose(2)
    (card,) = _cards()
    many = max(card.victims, key=lambda victims: victims.count)
    assert many.count > len(many.rows)

    page = " ".join(console.get(PROBLEMS).content.decode().split())
    which = {Risk.LAST_REPLICA: "1", Risk.REDUCED: "reduced", Risk.UNREACHABLE: "0"}[many.risk]

    assert f"{many.text}:" in page
    assert f"?replicas={which}&amp;lost=storageserver-2" in page.replace("&lost", "&amp;lost")
    listed = console.get(f"/admin/volumes/logicalvolume/?replicas={which}&lost=storageserver-2")
    assert listed.context["cl"].result_count == many.count


def test_three_hundred_jobs_with_one_reason_are_one_card_that_says_how_many(well: None) -> None:
    volume = LogicalVolume.objects.earliest("pk")
    Job.objects.bulk_create(
        Job(
            id=1000 + number,
            kind=Job.Kind.SHRED,
            subject=f"extent {number}",
            volume=volume,
            waiting="the node is busy",
            due=clock.now() - timedelta(hours=1),
        )
        for number in range(300)
    )

    (card,) = _cards()

    assert card.problem.title == "300 jobs do not get on"
    assert card.count == 300


def test_what_finds_no_room_has_the_lack_of_room_as_its_cause(well: None) -> None:
    for number in (1, 2):
        Job.objects.create(
            id=5000 + number,
            kind=Job.Kind.EVACUATE,
            server_id=number,
            subject=f"ssvr-{number:08x}",
            waiting="no room for 5 GB in 1 replicas on separate servers",
            due=clock.now() - timedelta(hours=1),
        )

    (card,) = _cards()

    assert card.key == "space"
    assert card.count == 2


@pytest.mark.parametrize("path", [PROBLEMS, "/admin/console/problems/live/"])
def test_the_page_tells_causes_not_victims(well: None, console: Client, path: str) -> None:
    _lose(2)

    page = console.get(path, headers=PART if "live" in path else {}).content.decode()

    assert page.count("<article") == 1


def test_a_broker_that_does_not_answer_is_told_until_it_does(
    console: Client, well: None, settings: Settings
) -> None:
    Watch.objects.get_or_create(pk=1)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    broker_watch.look()
    broker_watch.look()

    (card,) = _cards()
    page = console.get(PROBLEMS).content.decode()

    assert card.key == "broker"
    assert "start Redis, or mend REDIS_URL" in page
    assert problems.is_anything_wrong()

    settings.REDIS_URL = "memory://"
    broker_watch.look()
    assert _cards() == []
