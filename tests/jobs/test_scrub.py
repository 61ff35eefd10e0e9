"""The replicas of every mirror are compared; what differs is told, and mended where it is known."""

import errno
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from agents.checksums import UNREADABLE
from inventory import clock
from inventory.models import AuditEntry, StorageServer
from tests.jobs.conftest import Cluster
from tests.jobs.rot import contents, rot, scrub, unequal
from tests.jobs.simulated_head import Head
from volumes.models import Job, LogicalVolume, Mirror, UnequalBlock
from volumes.reports import problems
from volumes.scrub import passes, questions

MIB = 1 << 20


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
    StorageServer.objects.filter(pk=old.server_id).update(name="south")

    job = scrub(four, volume)

    assert job.state == "canceled"
    assert f"south (ssvr-{old.server_id:08x}): its agent" in job.error
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
