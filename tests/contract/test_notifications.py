"""What nodes and monitors tell, and the events that come of it."""

import pytest

from inventory.audit import Action
from inventory.models import AuditEntry, Disk, Extent, Priority
from tests.contract.api import Api, add_disk
from volumes.models import Job, Mirror, Replica

ENOENT, EINVAL = 2, 22
HSVR, SSVR, PDSK, LVOL = 1, 2, 3, 4

pytestmark = pytest.mark.django_db


# -- notifyFailure --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 5, -1, 99, 0x7FFFFFFF])
def test_an_invalid_target_is_einval(api: Api, target: int) -> None:
    assert api.fault("notifyFailure", target=target, targetid=1) == EINVAL


@pytest.mark.parametrize("target", [HSVR, SSVR, PDSK])
@pytest.mark.parametrize("number", [0, -1, 99])
def test_the_failure_of_something_unknown_changes_nothing(
    api: Api, target: int, number: int
) -> None:
    assert api("notifyFailure", target=target, targetid=number) == 0


def test_the_failure_of_an_unknown_extent_is_enoent(api: Api) -> None:
    assert api.fault("notifyFailure", target=LVOL, targetid=99) == ENOENT


def test_a_failed_head_is_offline_however_often_it_is_said(api: Api, head: int) -> None:
    for _ in range(2):
        assert api("notifyFailure", target=HSVR, targetid=head) == 0

    assert api("listHeadServers")[0]["priority"] == Priority.OFFLINE


def test_a_failed_storage_server_is_offline_with_its_disks(
    api: Api, storage: int, disk: int
) -> None:
    for _ in range(2):
        assert api("notifyFailure", target=SSVR, targetid=storage) == 0

    assert api("listStorageServers")[0]["priority"] == Priority.OFFLINE
    assert api("listPhysicalDisks")[0]["priority"] == Priority.OFFLINE


def test_a_failed_disk_is_faulty_and_its_volumes_show_it(
    api: Api, pool: list[int], volume: int
) -> None:
    for _ in range(2):
        assert api("notifyFailure", target=PDSK, targetid=pool[0]) == 0

    assert Disk.objects.get(pk=pool[0]).priority == Priority.FAULTY
    assert api("listLogicalVolumes")[0]["fault"] is True


def test_a_restarted_server_says_so_and_registers_again(api: Api, db: None) -> None:
    number = api("registerStorageServer", ip_data=["10.0.0.1"], boot_id="one")

    api("notifyFailure", target=SSVR, targetid=number, reason="restarted")

    assert api("registerStorageServer", ip_data=["10.0.0.1"], boot_id="two") == number


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "failed"),
        ("smartd", "failed"),
        ("a reason of more than sixteen letters", "failed"),
        ("silent", "failed"),
        ("restarted", "restarted"),
        ("connection", "connection"),
        ("io", "io"),
    ],
)
def test_words_that_mean_nothing_special_declare_a_server_failed_and_are_written_down(
    api: Api, pool: list[int], volume: int, words: str, reason: str
) -> None:
    server = Disk.objects.get(pk=pool[0]).server_id

    assert api("notifyFailure", target=SSVR, targetid=server, reason=words) == 0

    replica = Replica.objects.get(server=server)
    assert (replica.status, replica.reason) == (Replica.Status.FAULTY, reason)
    assert AuditEntry.objects.get(verb=Action.FAIL_STORAGE).detail == words


@pytest.mark.parametrize("target", [HSVR, SSVR, PDSK, LVOL])
def test_a_long_reason_is_taken_for_every_target_and_kept_in_the_audit_log(
    api: Api, head: int, pool: list[int], volume: int, target: int
) -> None:
    words = "smartd: " + "Reallocated_Sector_Ct is failing now, " * 10
    disk = Disk.objects.get(pk=pool[0])
    replica = Replica.objects.get(server=disk.server_id)
    about = {HSVR: head, SSVR: disk.server_id, PDSK: disk.pk, LVOL: replica.pk}

    assert api("notifyFailure", target=target, targetid=about[target], reason=words) == 0

    assert AuditEntry.objects.order_by("-pk")[0].detail == words


# -- notifyBadBlocks ------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [[100], [-1], [0, 100], [0x7FFFFFFF]])
def test_a_block_outside_the_disk_is_einval_and_changes_nothing(
    api: Api, disk: int, blocks: list[int]
) -> None:
    before = list(Extent.objects.values())

    assert api.fault("notifyBadBlocks", pdskid=disk, blocks=blocks) == EINVAL
    assert list(Extent.objects.values()) == before
    assert api("listPhysicalDisks")[0]["priority"] == Priority.HIGH


def test_bad_blocks_of_an_unknown_disk_are_einval(api: Api, disk: int) -> None:
    for number in (0, -1, disk + 1):
        assert api.fault("notifyBadBlocks", pdskid=number, blocks=[1]) == EINVAL


def test_bad_blocks_make_the_disk_low_and_are_out_of_use(api: Api, pool: list[int]) -> None:
    for _ in range(2):
        assert api("notifyBadBlocks", pdskid=pool[0], blocks=[3, 7, 3]) == 0

    row = next(row for row in api("listPhysicalDisks") if row["pdskid"] == pool[0])
    assert (row["priority"], row["available"]) == (Priority.LOW, 97)


# -- notifyShredFinished, notifyRebuildMirrorFinished ---------------------------------------------


def test_shred_of_an_unknown_extent_is_enoent(api: Api) -> None:
    for number in (0, -1, 99):
        assert api.fault("notifyShredFinished", dextid=number) == ENOENT


def test_shred_of_an_extent_in_use_or_of_the_label_is_einval(api: Api, volume: int) -> None:
    for status in (Extent.Status.BUSY, Extent.Status.SUPER):
        extent = Extent.objects.filter(status=status).first()
        assert extent
        assert api.fault("notifyShredFinished", dextid=extent.pk) == EINVAL


def test_shred_of_free_space_changes_nothing(api: Api, pool: list[int]) -> None:
    extent = Extent.objects.filter(status=Extent.Status.FREE).first()
    assert extent

    assert api("notifyShredFinished", dextid=extent.pk, eventid=77) == 0
    assert Extent.objects.get(pk=extent.pk).status == Extent.Status.FREE


def test_space_that_nobody_was_told_to_zero_does_not_become_free(api: Api, disk: int) -> None:
    extent = Extent.objects.get(status=Extent.Status.OFFLINE)

    api("notifyShredFinished", dextid=extent.pk)

    assert api("listPhysicalDisks")[0]["available"] == 0


def test_a_rebuild_of_an_unknown_mirror_or_a_stranger_is_einval(api: Api, volume: int) -> None:
    mirror = Mirror.objects.get(volume=volume)
    stranger = Extent.objects.filter(replica=None).first()
    assert stranger

    assert api.fault("notifyRebuildMirrorFinished", mirrorid=9999, dexts=[]) == EINVAL
    for number in (stranger.pk, 0x7FFFFFFF, -1):
        for status in Replica.Status:
            told = [{"dextid": number, "dext_status": int(status)}]
            wrong = api.fault("notifyRebuildMirrorFinished", mirrorid=mirror.pk, dexts=told)
            assert wrong == EINVAL


@pytest.mark.parametrize(
    ("status", "answer"), [(-1, 22), (0, 22), (1, 0), (4, 0), (6, 22), (99, 22)]
)
def test_a_replica_is_reported_in_a_state_that_there_is(
    api: Api, volume: int, status: int, answer: int
) -> None:
    replica = Replica.objects.first()
    assert replica
    told = [{"dextid": replica.pk, "dext_status": status}]

    def report() -> None:
        api("notifyRebuildMirrorFinished", mirrorid=replica.mirror_id, dexts=told)

    if answer:
        assert api.fault_of(report) == answer
    else:
        report()


def test_a_replica_that_nobody_rebuilds_does_not_become_good_by_being_reported(
    api: Api, pool: list[int], volume: int
) -> None:
    api("notifyFailure", target=PDSK, targetid=pool[0])
    mirror = Mirror.objects.get(volume=volume)
    replica = Replica.objects.get(mirror=mirror, status=Replica.Status.FAULTY)

    done = [{"dextid": replica.pk, "dext_status": 2}]
    assert api("notifyRebuildMirrorFinished", mirrorid=mirror.pk, dexts=done) == 0

    replica.refresh_from_db()
    assert replica.status == Replica.Status.FAULTY


# -- listEvents, vastsky.listJobs -----------------------------------------------------------------


@pytest.fixture
def shreds(api: Api, storage: int) -> list[Job]:
    """A shred in each state."""
    jobs = []
    for number, state in enumerate(Job.State):
        disk = add_disk(api, storage, f"/dev/{number}")
        extent = Extent.objects.get(disk=disk, status=Extent.Status.OFFLINE)
        over = None if state == Job.State.OPEN else "2026-11-24T00:00:00Z"
        Job.objects.filter(extent=extent).delete()
        fields = {"state": state, "finished": over, "due": "2026-11-24T00:00:00Z"}
        jobs.append(
            Job.objects.create(
                pk=100 + number, kind=Job.Kind.SHRED, subject="x", extent=extent, **fields
            )
        )
    return jobs


def test_events_are_empty_for_those_who_ask_as_ever(api: Api, shreds: list[Job]) -> None:
    assert api("listEvents") == []


@pytest.mark.parametrize(
    ("status", "state"), [(1, "open"), (3, "done"), (4, "canceled"), (5, "failed")]
)
def test_events_are_chosen_by_their_status(
    api: Api, shreds: list[Job], status: int, state: str
) -> None:
    (job,) = [job for job in shreds if job.state == state]

    assert api("listEvents", event_status=status) == [
        {
            "eventid": job.pk,
            "target": LVOL,
            "targetid": job.extent_id,
            "event": 3,
            "event_status": status,
        }
    ]


def test_all_events_are_listed_on_request(api: Api, shreds: list[Job]) -> None:
    assert {row["event_status"] for row in api("listEvents", all=1)} == {1, 3, 4, 5}
    assert api("listEvents", event_status=2) == []


def test_open_jobs_tell_their_progress(api: Api, shreds: list[Job]) -> None:
    Job.objects.filter(state="open").update(done_mib=7, total_mib=2**40, waiting="a slot")

    (row,) = api("vastsky.listJobs")

    assert row["eventid"] == 100
    assert (row["kind"], row["waiting"]) == ("shred", "a slot")
    assert (row["done_mib"], row["total_mib"]) == (7, 0x7FFFFFFF)
    assert (row["errno"], row["error"]) == (0, "")
