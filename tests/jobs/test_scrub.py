"""The replicas of every mirror are compared; what differs is told, and mended where it is known."""

import errno
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.checksums import UNREADABLE
from inventory import clock
from inventory.models import AuditEntry
from tests.jobs.conftest import Cluster
from tests.jobs.simulator import Head
from volumes.models import Job, LogicalVolume, Mirror, Replica, UnequalBlock
from volumes.reports import problems
from volumes.scrub import passes, questions
from volumes.worker import runner

GB = 1 << 30
MIB = 1 << 20


def scrub(four: Cluster, volume: LogicalVolume, rounds: int = 3) -> Job:
    """Scrub a volume from the beginning; its job."""
    four.call("vastsky.scrubVolume", lvolid=volume.pk)
    four.work(rounds)
    return four.job(Job.Kind.SCRUB)


def fill(four: Cluster, volume: LogicalVolume, chunk: int = 0) -> None:
    for replica in four.replicas(volume):
        four.world.write(replica.pk, chunk, 0, ["a", "b", "c"])


def rot(four: Cluster, replica: Replica, digest: str = "evil", chunk: int = 7) -> None:
    four.world.write(replica.pk, chunk, 5, [digest])


def unequal(four: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = four.call("vastsky.listUnequalBlocks")
    return found


def contents(four: Cluster, volume: LogicalVolume, chunk: int = 7) -> set[tuple[str, ...]]:
    return {tuple(four.world.blocks(r.pk, chunk)) for r in four.replicas(volume)}


@pytest.fixture(params=["attached", "detached"])
def used(request: pytest.FixtureRequest, four: Cluster, head: Head) -> LogicalVolume:
    """A volume in three replicas with something in it."""
    volume = four.create()
    four.attach(volume, head)
    if request.param == "detached":
        four.detach(volume)
    fill(four, volume)
    return volume


@pytest.fixture(params=["attached", "detached"])
def pair(request: pytest.FixtureRequest, four: Cluster, head: Head) -> LogicalVolume:
    """A volume in two replicas."""
    volume = four.create(redundancy=2)
    four.attach(volume, head)
    if request.param == "detached":
        four.detach(volume)
    return volume


def test_equal_replicas_are_compared_to_the_end_and_the_pass_is_written_down(
    four: Cluster, used: LogicalVolume
) -> None:
    long_ago = clock.now() - timedelta(days=9)
    Mirror.objects.update(scrubbed=long_ago)

    job = scrub(four, used)

    assert (job.state, job.done_mib, job.total_mib) == ("done", 5 * 1024, 5 * 1024)
    assert four.mirror(used).scrubbed > long_ago + timedelta(days=8)
    assert unequal(four) == []
    assert not any(node.told("verify") for node in four.world.heads.values())


def test_of_three_replicas_the_majority_mends_the_third_and_it_is_audited(
    four: Cluster, used: LogicalVolume
) -> None:
    rot(four, four.replicas(used)[1])

    job = scrub(four, used, rounds=5)

    assert job.state == "done"
    assert len(contents(four, used)) == 1
    block = UnequalBlock.objects.get()
    assert (block.state, block.offset, block.length) == ("mended", 7 * MIB + 5 * 4096, 4096)
    assert block.contents.count() == 3
    row = AuditEntry.objects.get(verb="mend_block")
    assert (row.actor, row.subject) == ("system", str(used))
    assert problems.find() == []


def test_of_two_replicas_none_is_guessed_but_all_is_told(
    four: Cluster, pair: LogicalVolume
) -> None:
    rot(four, four.replicas(pair)[0])

    scrub(four, pair, rounds=6)

    (told,) = unequal(four)
    assert (told["lvolname"], told["offset"], told["length"]) == (
        "data",
        str(7 * MIB + 20480),
        4096,
    )
    assert [content["digest"] for content in told["contents"]] == ["evil", ""]
    assert len(contents(four, pair)) == 2
    (problem,) = problems.find()
    assert "data" in problem.title
    assert str(7 * MIB + 20480) in problem.title
    for replica in four.replicas(pair):
        assert f"ssvr-{replica.server_id:08x}" in problem.cause
    (event,) = four.call("listEvents", all=1)
    assert (event["event"], event["eventid"]) == (1, told["eventid"])


@pytest.mark.parametrize("chosen", [0, 1])
def test_the_operator_chooses_whose_content_is_right(
    four: Cluster, pair: LogicalVolume, chosen: int
) -> None:
    replicas = four.replicas(pair)
    rot(four, replicas[0])
    scrub(four, pair)
    (told,) = unequal(four)

    eventid = four.call("vastsky.mendBlock", blockid=told["blockid"], dextid=replicas[chosen].pk)
    four.work(2)

    assert eventid == told["eventid"]
    (blocks,) = contents(four, pair)
    assert blocks[5] == ["evil", ""][chosen]
    assert Job.objects.get(pk=eventid).state == "done"
    assert unequal(four) == []
    assert (
        four.call.fault("vastsky.mendBlock", blockid=told["blockid"], dextid=replicas[0].pk)
        == errno.EBUSY
    )


def test_where_a_disk_reports_errors_the_other_replica_is_right(
    four: Cluster, pair: LogicalVolume
) -> None:
    rot(four, four.replicas(pair)[1], UNREADABLE)

    scrub(four, pair, rounds=5)

    assert len(contents(four, pair)) == 1
    assert unequal(four) == []


def test_blocks_that_are_overwritten_all_the_time_never_count_as_rot(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    four.world.hot = {(r.pk, chunk) for r in four.replicas(volume) for chunk in (3, 4)}

    job = scrub(four, volume, rounds=4)

    assert job.state == "done"
    assert not UnequalBlock.objects.exists()


def test_what_was_overwritten_since_is_told_no_more(four: Cluster, pair: LogicalVolume) -> None:
    rotten = four.replicas(pair)[0]
    rot(four, rotten)
    scrub(four, pair)
    assert len(unequal(four)) == 1

    four.world.write(rotten.pk, 7, 5, [""])
    scrub(four, pair)

    assert unequal(four) == []
    assert UnequalBlock.objects.get().state == "gone"
    assert four.job(Job.Kind.MEND).state == "canceled"


def test_contents_that_changed_after_the_choice_are_not_mended_unasked(
    four: Cluster, pair: LogicalVolume
) -> None:
    replicas = four.replicas(pair)
    rot(four, replicas[0])
    scrub(four, pair)
    (told,) = unequal(four)
    rot(four, replicas[0], "other")

    four.call("vastsky.mendBlock", blockid=told["blockid"], dextid=replicas[0].pk)
    four.work(3)

    assert len(contents(four, pair)) == 2
    (told,) = unequal(four)
    assert [content["digest"] for content in told["contents"]] == ["other", ""]
    assert told["source"] == 0


def test_a_snapshots_store_is_compared_too(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    lvolid = four.call("createSnapshot", origin_lvolid=volume.pk, snapshot_lvolname="before")
    snapshot = LogicalVolume.objects.get(pk=lvolid)
    rot(four, four.replicas(snapshot)[2])

    scrub(four, snapshot, rounds=6)

    assert UnequalBlock.objects.get().state == "mended"
    assert len(contents(four, snapshot)) == 1


def test_a_volume_that_was_not_closed_cleanly_waits_and_then_gives_way(
    four: Cluster, idle: LogicalVolume
) -> None:
    rot(four, four.replicas(idle)[0])
    for replica in four.replicas(idle):
        four.world.marks[replica.pk] = four.world.mark(replica.pk).__class__(
            replica.pk, 1, 1, clean=False
        )

    job = scrub(four, idle)
    assert job.state == "open"
    assert "not closed cleanly" in job.waiting
    Job.objects.update(deadline=F("deadline") - timedelta(hours=1))
    four.work()

    job.refresh_from_db()
    assert job.state == "canceled"
    assert not UnequalBlock.objects.exists()
    assert four.mirror(idle).scrub_tried is not None


def test_a_mirror_that_lacks_a_replica_is_not_compared(
    four: Cluster, head: Head, volume: LogicalVolume
) -> None:
    four.call("notifyFailure", target=4, targetid=four.replicas(volume)[0].pk, reason="io")

    job = scrub(four, volume)

    assert "rebuild goes first" in job.waiting
    assert not any(node.told("checksums") for node in four.world.storages.values())


def test_an_older_agent_is_told_of_and_asked_again_later(
    four: Cluster, volume: LogicalVolume
) -> None:
    old = four.node_of(four.replicas(volume)[0])
    old.refuse["checksums"] = (errno.ENOSYS, "no method 'vastsky.checksums' here")

    job = scrub(four, volume)

    assert job.state == "canceled"
    assert f"ssvr-{old.server_id:08x}: its agent" in job.error
    assert "too old" in job.error
    assert problems.find() == []
    Mirror.objects.update(scrubbed=clock.now() - timedelta(days=90))
    assert passes.request_due() == 0


def test_an_attach_in_the_midst_makes_it_look_again(
    four: Cluster, head: Head, idle: LogicalVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What servers told of a detached volume counts only if it was detached all the time."""
    rot(four, four.replicas(idle)[0])
    ask = questions.blocks

    def attached_meanwhile(*about: Any) -> Any:
        told = ask(*about)
        monkeypatch.setattr(questions, "blocks", ask)
        four.attach(idle, head)
        return told

    monkeypatch.setattr(questions, "blocks", attached_meanwhile)
    scrub(four, idle, rounds=1)
    assert not UnequalBlock.objects.exists()

    four.work(4)
    assert head.told("verify")
    assert UnequalBlock.objects.get().state == "mended"


# -- when it runs ---------------------------------------------------------------------------------


def test_mirrors_whose_turn_it_is_are_queued_the_oldest_first(
    four: Cluster, settings: Settings
) -> None:
    settings.VASTSKY_SCRUBS_TOTAL = 2
    volumes = [four.create(f"v{n}") for n in range(4)]
    for days, volume in zip((25, 40, 1, 30), volumes, strict=True):
        since = clock.now() - timedelta(days=days)
        Mirror.objects.filter(volume=volume).update(scrubbed=since)

    assert passes.request_due() == 2
    assert passes.request_due() == 0
    first = list(
        Job.objects.filter(kind="scrub").order_by("pk").values_list("mirror__volume__name")
    )
    assert first == [("v1",), ("v3",)]
    four.work(6)
    assert passes.request_due() == 1
    four.work(4)
    assert passes.request_due() == 0


def test_reconcile_queues_scrubs_unless_they_are_switched_off(
    four: Cluster, settings: Settings
) -> None:
    four.create()
    Mirror.objects.update(scrubbed=clock.now() - timedelta(days=60))
    settings.VASTSKY_SCRUB_DAYS = 0
    four.reconcile()
    assert not Job.objects.filter(kind="scrub").exists()

    settings.VASTSKY_SCRUB_DAYS = 30
    four.reconcile()
    assert Job.objects.filter(kind="scrub").count() == 1


def test_one_disk_is_read_by_one_scrub_at_a_time(four: Cluster) -> None:
    volumes = [four.create(f"v{n}", redundancy=4) for n in range(2)]
    for volume in volumes:
        four.call("vastsky.scrubVolume", lvolid=volume.pk)
    first, second = Job.objects.filter(kind="scrub").order_by("pk")
    Job.objects.filter(pk=first.pk).update(ordered=True, due=timezone.now() + timedelta(seconds=50))
    runner.run_job(second.pk)

    second.refresh_from_db()
    assert "other scrubs run on pdsk-" in second.waiting


def test_paused_scrubs_rest_until_they_are_resumed(four: Cluster, volume: LogicalVolume) -> None:
    four.call("vastsky.pauseScrubs")
    Mirror.objects.update(scrubbed=clock.now() - timedelta(days=60))
    assert passes.request_due() == 0

    job = scrub(four, volume)
    assert (job.state, job.waiting) == ("open", "scrubs are paused")
    four.call("vastsky.resumeScrubs")
    four.work(3)

    job.refresh_from_db()
    assert job.state == "done"


def test_one_scrub_is_paused_and_goes_on_where_it_was(four: Cluster, volume: LogicalVolume) -> None:
    four.call("vastsky.scrubVolume", lvolid=volume.pk)
    job = four.job(Job.Kind.SCRUB)
    four.call("vastsky.pauseJob", eventid=job.pk)
    four.work(3)
    assert four.job(Job.Kind.SCRUB).waiting == "paused"

    four.call("vastsky.resumeJob", eventid=job.pk)
    four.work(3)
    assert four.job(Job.Kind.SCRUB).state == "done"


def test_a_pass_that_was_put_off_goes_on_where_it_was(four: Cluster, volume: LogicalVolume) -> None:
    Mirror.objects.update(scrub_mib=3000, scrubbed=clock.now() - timedelta(days=60))

    passes.request_due()
    four.work(3)

    asked = [q.offset_mib for node in four.world.storages.values() for q in node.told("checksums")]
    assert min(asked) == 3000
    assert four.mirror(volume).scrub_mib == 0


def test_a_mirror_of_which_much_differs_is_told_once_and_not_row_by_row(
    four: Cluster, pair: LogicalVolume
) -> None:
    rotten = four.replicas(pair)[0]
    for chunk in range(40):
        four.world.write(rotten.pk, chunk, 3, ["x"])
        four.world.write(rotten.pk, chunk, 9, ["x"])

    job = scrub(four, pair)

    assert (job.state, job.errno) == ("failed", errno.EIO)
    assert len(unequal(four)) == 64
    assert len(problems.find()) <= problems.LISTED + 1


def test_a_finding_is_dismissed_by_canceling_its_job(four: Cluster, pair: LogicalVolume) -> None:
    rot(four, four.replicas(pair)[0])
    scrub(four, pair)
    (told,) = unequal(four)

    four.call("vastsky.cancelJob", eventid=told["eventid"])
    assert unequal(four) == []
    scrub(four, pair)
    assert len(unequal(four)) == 1


def test_a_deleted_volume_takes_its_findings_along(four: Cluster, idle: LogicalVolume) -> None:
    rot(four, four.replicas(idle)[0], "x")
    rot(four, four.replicas(idle)[1], "y")
    scrub(four, idle)
    assert len(unequal(four)) == 1

    four.call("deleteLogicalVolume", lvolid=idle.pk)
    four.work(2)

    assert unequal(four) == []
    assert not Job.objects.filter(kind__in=["mend", "scrub"], state="open").exists()


# -- in the console -------------------------------------------------------------------------------


@pytest.fixture
def console(four: Cluster) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def test_both_contents_are_shown_as_hashes_and_the_one_that_is_chosen_is_taken(
    four: Cluster, pair: LogicalVolume, console: Client
) -> None:
    rot(four, four.replicas(pair)[0])
    scrub(four, pair)
    block = UnequalBlock.objects.get()
    right = block.contents.get(digest="")

    shown = console.get(f"/admin/volumes/unequalblock/{block.pk}/change/").content.decode()
    listed = console.get("/admin/volumes/unequalblock/").content.decode()
    wrong = console.get("/admin/console/problems/").content.decode()
    preview = console.get(f"/admin/console/do/take-content/?on={right.pk}").content.decode()
    led = console.get(f"/admin/volumes/blockcontent/{right.pk}/change/")
    console.post("/admin/console/do/take-content/", {"on": right.pk})
    four.work(2)

    assert "evil" in shown
    assert "zeros" in shown
    assert shown.count("Take this content") == 2
    assert "4096 bytes at 7360512" in listed
    assert "replicas of data differ" in wrong
    assert "are overwritten on the other replicas" in preview
    assert led["Location"] == f"/admin/volumes/unequalblock/{block.pk}/change/"
    assert len(contents(four, pair)) == 1
    assert AuditEntry.objects.get(verb="mend_block").actor == "root"
    after = console.get(f"/admin/volumes/unequalblock/{block.pk}/change/").content.decode()
    assert "do/take-content/" not in after


def test_a_volumes_page_shows_the_last_pass_and_how_far_the_next_is(
    four: Cluster, volume: LogicalVolume, console: Client
) -> None:
    console.post("/admin/console/do/scrub-volume/", {"on": volume.pk})
    Job.objects.filter(kind="scrub").update(done_mib=1024)

    shown = console.get(f"/admin/volumes/logicalvolume/{volume.pk}/change/").content.decode()

    assert "being compared" in shown
    assert "20 %" in shown
    assert "do/scrub-volume/" not in shown


def test_all_scrubs_rest_and_go_on_from_the_list(four: Cluster, console: Client) -> None:
    assert "Pause scrubs" in console.get("/admin/volumes/unequalblock/").content.decode()
    console.post("/admin/console/do/pause-scrubs/", {"on": 1})
    paused = console.get("/admin/volumes/unequalblock/").content.decode()
    assert "Scrubs are paused" in paused
    assert "Resume scrubs" in paused

    console.post("/admin/console/do/resume-scrubs/", {"on": 1})
    going = console.get("/admin/volumes/unequalblock/").content.decode()
    assert "Pause scrubs" in going
