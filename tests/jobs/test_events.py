"""What happens is told as events: with the change, of what it is about, and not for ever."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xmlrpc.client import Fault

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from pytest_django import Settings

from agents.protocol import Reason
from inventory import events, servers
from inventory.events import Kind, Severity
from inventory.models import Disk, EventEntry, HeadServer, Priority, StorageServer
from tests.contract.api import put_down
from tests.jobs.conftest import Cluster
from tests.jobs.simulated_head import Head
from volumes.jobs import queue
from volumes.models import Job, LogicalVolume, Replica
from volumes.repair import drain, failures
from volumes.scrub import passes

EINVAL = 22
Listed = list[dict[str, Any]]


def told(four: Cluster, **chosen: Any) -> Listed:
    """Everything that fits, oldest first."""
    answer: Listed = four.call("vastsky.listEvents", **chosen)["events"]
    return answer[::-1]


def kinds(four: Cluster, **chosen: Any) -> list[str]:
    return [event["kind"] for event in told(four, **chosen)]


def settle() -> None:
    """Let some seconds pass since all that was told."""
    EventEntry.objects.update(at=F("at") - timedelta(seconds=10))


# -- what is told ---------------------------------------------------------------------------------


def test_the_life_of_a_volume_is_told_in_its_order(four: Cluster, head: Head) -> None:
    volume = four.create()
    four.attach(volume, head)
    four.detach(volume)
    four.call("deleteLogicalVolume", lvolid=volume.pk)

    assert kinds(four, lvolid=volume.pk) == [
        "created",
        "attaching",
        "attached",
        "detaching",
        "detached",
        "deleted",
    ]


def test_an_event_leads_to_its_job_and_audit_entry(four: Cluster, volume: LogicalVolume) -> None:
    job = Job.objects.get(kind=Job.Kind.ATTACH)

    asked, done = told(four, eventid=job.pk)

    assert (asked["kind"], done["kind"]) == ("attaching", "attached")
    assert (asked["object"], asked["objectid"], asked["name"]) == ("volume", volume.pk, "data")
    assert asked["audit"]
    assert not done["audit"]


def test_a_server_that_fails_tells_of_its_disks_and_volumes(
    four: Cluster, volume: LogicalVolume
) -> None:
    replica = four.replicas(volume)[0]
    failures.fail_storage(replica.server_id, Reason.SILENT)

    (server,) = told(four, ssvrid=replica.server_id, kind="offline")
    assert (server["severity"], server["cause"]) == ("error", "silent")
    assert kinds(four, pdskid=four.disk_of(replica).pk)[-1] == "offline"
    (degraded,) = told(four, lvolid=volume.pk, severity="warning")
    assert (degraded["kind"], degraded["severity"]) == ("degraded", "warning")
    assert degraded["cause"].endswith("its server or disk does not answer; fewest left: 2")


def test_a_volume_with_one_good_replica_left_is_an_error(
    four: Cluster, volume: LogicalVolume
) -> None:
    for replica in four.replicas(volume)[:2]:
        failures.fail_replica(replica.pk, Reason.IO)

    severities = [event["severity"] for event in told(four, kind="degraded")]
    assert severities == ["warning", "error"]


def test_a_volume_that_is_rebuilt_is_whole_again(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    failures.fail_replica(four.replicas(volume)[0].pk, Reason.IO)
    four.work()
    head.finish(head.told("rebuild")[0])
    four.work()

    assert kinds(four, lvolid=volume.pk)[-2:] == ["degraded", "healed"]


def test_an_evacuation_tells_its_begin_and_end_and_nothing_of_volumes(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    disk = four.disk_of(four.replicas(volume)[0])
    before = kinds(four, lvolid=volume.pk)
    four.call("vastsky.evacuate", pdskid=disk.pk)
    four.work()
    head.finish(head.told("rebuild")[0])
    four.work(2)

    assert not Replica.objects.filter(extent__disk=disk).exists()
    assert kinds(four, pdskid=disk.pk)[-2:] == ["draining", "drained"]
    named = EventEntry.objects.filter(object_kind="disk", object_id=disk.pk).latest("pk")
    assert named.object_name == f"{disk.server}:{disk.local_path} ({disk})"
    assert kinds(four, lvolid=volume.pk) == before


def test_work_that_waits_tells_once_for_what(four: Cluster) -> None:
    for node in four.world.storages.values():
        node.die()
    volume = four.create()
    four.begin_attach(volume, four.add_head())
    four.work(4)

    assert kinds(four, lvolid=volume.pk, severity="warning") == ["job_waits"]


def test_a_paused_job_is_told_under_the_name_of_who_did_it(
    four: Cluster, volume: LogicalVolume
) -> None:
    job = drain.start_evacuation(four.disk_of(four.replicas(volume)[0]))
    four.call("vastsky.pauseJob", eventid=job.pk)

    event = told(four, eventid=job.pk)[-1]
    assert event["kind"] == "job_steered"
    assert event["cause"].startswith("pause job: ")
    assert event["actor"] != "system"


def test_what_is_deleted_keeps_its_name(four: Cluster) -> None:
    server = StorageServer.objects.earliest("pk")
    StorageServer.objects.filter(pk=server.pk).update(name="rosa")
    put_down(StorageServer, server.pk, Priority.OFFLINE)
    servers.delete_storage(server.pk)

    event = told(four, ssvrid=server.pk)[-1]
    assert (event["kind"], event["name"]) == ("deleted", "rosa")


def test_a_head_that_is_deleted_keeps_its_name(four: Cluster, head: Head) -> None:
    HeadServer.objects.filter(pk=head.server_id).update(name="hugo")
    put_down(HeadServer, head.server_id, Priority.OFFLINE)
    servers.delete_head(head.server_id)

    assert told(four, hsvrid=head.server_id)[-1]["name"] == "hugo"


def test_replicas_that_differ_are_told_with_the_job_that_mends_them(four: Cluster) -> None:
    volume = four.create()
    one, other, _ = four.replicas(volume)
    four.world.write(one.pk, 3, 0, ["x"])
    four.world.write(other.pk, 3, 0, ["y"])
    passes.request_scrub(volume)
    four.work(2)

    (found,) = told(four, lvolid=volume.pk, kind="unequal")
    assert found["severity"] == "error"
    assert found["eventid"] == four.job(Job.Kind.MEND).pk


def test_work_that_fails_is_told_with_its_reason(four: Cluster) -> None:
    job = four.begin_attach(four.create(), four.add_head())
    queue.finish(job, EINVAL, "the head has no room")

    (failed,) = told(four, eventid=job.pk, severity="error")
    assert failed["kind"] == "job_failed"
    assert failed["cause"].endswith("the head has no room")


def test_volumes_that_wait_for_storage_are_told_and_so_is_their_end(
    four: Cluster, volume: LogicalVolume
) -> None:
    failures.note_waiting({volume.pk: 3})
    failures.note_waiting({volume.pk: 8})
    failures.note_waiting({volume.pk: 0})

    assert kinds(four, lvolid=volume.pk)[-2:] == ["waiting", "goes_on"]


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_undone_leaves_no_event() -> None:
    head = HeadServer(pk=1)
    with transaction.atomic():
        events.tell(Kind.OFFLINE, Severity.ERROR, head)
        transaction.set_rollback(True)
    with pytest.raises(transaction.TransactionManagementError):
        events.tell(Kind.OFFLINE, Severity.ERROR, head)

    assert not EventEntry.objects.exists()


# -- listing --------------------------------------------------------------------------------------


def test_pages_hold_every_event_once(four: Cluster, volume: LogicalVolume) -> None:
    everything = [event["id"] for event in four.call("vastsky.listEvents", limit=1000)["events"]]
    found: list[str] = []
    cursor = ""
    while True:
        answer = four.call("vastsky.listEvents", limit=3, cursor=cursor)
        found += [event["id"] for event in answer["events"]]
        cursor = answer["cursor"]
        if not cursor:
            break

    assert found == everything
    assert len(found) == EventEntry.objects.count()


def test_who_follows_hears_of_what_is_new_once_it_is_settled(four: Cluster) -> None:
    settle()
    cursor = four.call("vastsky.listEvents", follow=1, limit=1000)["cursor"]
    volume = four.create()

    assert four.call("vastsky.listEvents", follow=1, cursor=cursor)["events"] == []
    settle()
    (event,) = four.call("vastsky.listEvents", follow=1, cursor=cursor)["events"]
    assert (event["kind"], event["objectid"]) == ("created", volume.pk)


def test_a_time_chooses(four: Cluster) -> None:
    settle()
    now = f"{timezone.now() - timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}"
    four.create()

    assert kinds(four, since=now) == ["created"]
    assert "created" not in kinds(four, until=now)


@pytest.mark.parametrize(
    "wrong",
    [
        {"severity": "loud"},
        {"kind": "party"},
        {"since": "yesterday"},
        {"until": "0001-01-01T00:00:00+14:00"},
        {"limit": 0},
        {"limit": 1001},
        {"cursor": "-1"},
        {"cursor": "9" * 19},
        {"lvolid": 1, "pdskid": 1},
    ],
)
def test_what_makes_no_sense_is_refused(four: Cluster, wrong: dict[str, Any]) -> None:
    with pytest.raises(Fault) as refused:
        four.call("vastsky.listEvents", **wrong)

    assert refused.value.faultCode == EINVAL


def test_a_listing_costs_the_same_at_any_size(
    four: Cluster, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    disk = Disk.objects.earliest("pk")
    with transaction.atomic():
        for _ in range(300):
            events.tell(Kind.OFFLINE, Severity.ERROR, disk)

    with django_assert_max_num_queries(4):
        assert len(told(four, pdskid=disk.pk, limit=1000)) > 300


# -- forgetting -----------------------------------------------------------------------------------


def test_old_events_are_forgotten(four: Cluster, settings: Settings) -> None:
    days = timedelta(days=settings.VASTSKY_KEEP_EVENTS_DAYS, seconds=1)
    EventEntry.objects.update(at=timezone.now() - days)
    four.create()
    four.reconcile()

    assert kinds(four) == ["created"]


def test_no_more_events_are_kept_than_was_said(four: Cluster, settings: Settings) -> None:
    settings.VASTSKY_KEEP_EVENTS = 3
    four.create()
    newest = list(EventEntry.objects.order_by("-pk").values_list("pk", flat=True)[:3])
    events.forget_old()

    assert list(EventEntry.objects.order_by("-pk").values_list("pk", flat=True)) == newest
