"""Every mutation is one audit row in its transaction; refusals and repeats are none."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from django.db.models import Q

from agents.protocol import Reason
from inventory import audit, disks, names, recovery, registration, servers
from inventory.audit import Action, Entrance
from inventory.errors import Refused
from inventory.models import AuditEntry, Disk, HeadServer, Priority, StorageServer
from tests.contract.api import put_down
from tests.jobs.conftest import Cluster
from volumes import acknowledgements
from volumes.attach import attach, detach
from volumes.lifecycle import batches, snapshots, volumes
from volumes.models import Attachment, Batch, Job, LogicalVolume, Replica, UnequalBlock
from volumes.repair import drain, failures, rebuild, retraction, shred
from volumes.replicas import broken
from volumes.scrub import mending, passes
from volumes.worker import operations

pytestmark = pytest.mark.django_db(transaction=True)

Mutation = Callable[[], object]
ELSEWHERE = {
    Action.CREATE_TOKEN,
    Action.REVOKE_TOKEN,
    Action.BIND_TOKEN,
    Action.INVITE_NODE,
    Action.REVOKE_INVITATION,
    Action.JOIN_NODE,
    Action.RENEW_NODE,
    Action.RENAME_MEMBER,
    Action.REMOVE_MEMBER,
    Action.ADD_WEBHOOK,
    Action.REMOVE_WEBHOOK,
    Action.ADD_USER,
    Action.CHANGE_USER,
    Action.DELETE_USER,
    Action.TAKE_SUPPORT_BUNDLE,
    Action.RECOVER_VOLUME,
    Action.EXCLUDE_NODES,
    Action.RELEASE,
    Action.RESTORE,
}
"""Tested where they live: tests/access, test_webhooks.py, test_recovery_from_what_nodes_know.py."""


# -- what makes each mutation possible ------------------------------------------------------------


def a_head(four: Cluster) -> HeadServer:
    return HeadServer.objects.get()


def a_disk(four: Cluster) -> Disk:
    return Disk.objects.order_by("pk")[0]


def with_a_failed_disk(four: Cluster) -> Mutation:
    four.create()
    disk = Replica.objects.select_related("extent__disk__server").earliest("pk").extent.disk
    failures.fail_disk(disk.pk)
    return lambda: retraction.take_back(Disk.objects.select_related("server").get(pk=disk.pk))


def attached(four: Cluster) -> LogicalVolume:
    volume = four.create()
    four.attach(volume, next(iter(four.world.heads.values())))
    return volume


def attaching(four: Cluster) -> Job:
    return attach.request_attach(four.create(), a_head(four).pk)


def down(kind: Any) -> int:
    row = kind.objects.order_by("pk")[0]
    put_down(kind, row.pk, Priority.OFFLINE)
    return int(row.pk)


def evacuating(four: Cluster, *, paused: bool = False) -> Job:
    job = drain.start_evacuation(a_disk(four))
    if paused:
        drain.pause(job, paused=True)
    job.refresh_from_db()
    return job


def shredding(four: Cluster) -> Job:
    four.detach(volume := attached(four))
    volumes.delete_volume(volume)
    for node in four.world.storages.values():
        node.hold_shreds = True
    shred.request_missing()
    four.work()
    return four.job(Job.Kind.SHRED)


def rebuilding(four: Cluster) -> Job:
    volume = attached(four)
    failures.fail_replica(four.replicas(volume)[0].pk, Reason.IO)
    four.work(2)
    return Job.objects.get(kind=Job.Kind.REBUILD, ordered=True)


def resume_scrubs(four: Cluster) -> Mutation:
    passes.pause_scrubs(paused=True)
    return lambda: passes.pause_scrubs(paused=False)


def mend_block(four: Cluster) -> Mutation:
    volume = four.create()
    four.world.write(four.replicas(volume)[0].pk, 3, 0, ["x"])
    four.world.write(four.replicas(volume)[1].pk, 3, 0, ["y"])
    passes.request_scrub(volume)
    four.work(2)
    block = UnequalBlock.objects.select_related("mirror__volume", "job").get()
    return lambda: mending.mend_block(block, four.replicas(volume)[0].pk)


def finish_rebuild(four: Cluster) -> Mutation:
    job = rebuilding(four)
    reported = [(job.extent_id or 0, Replica.Status.INSYNC)]
    return lambda: rebuild.finish_rebuild(job.mirror_id or 0, reported, job.pk)


def finish_shred(four: Cluster) -> Mutation:
    job = shredding(four)
    return lambda: shred.finish_shred(job.extent_id or 0, job.pk)


def with_replica(four: Cluster) -> Mutation:
    dextid = four.replicas(attached(four))[0].pk
    return lambda: failures.fail_replica(dextid, Reason.IO)


def fence(four: Cluster) -> Mutation:
    row = Attachment.objects.select_related("volume", "head").get(volume=attached(four))
    return lambda: in_transaction(lambda: detach.request_fence(row, "it is gone"))


def in_transaction(mutation: Mutation) -> None:
    with transaction.atomic():
        mutation()


def snapshot_of(four: Cluster) -> LogicalVolume:
    return snapshots.create_snapshot(origin=four.create(), name="before")[0]


def broken_snapshot(four: Cluster) -> Mutation:
    which = Q(pk=snapshot_of(four).pk)
    return lambda: in_transaction(lambda: broken.break_snapshots(which, "its store is gone"))


def known_node(four: Cluster) -> HeadServer:
    HeadServer.objects.update(node_uuid="one")
    return a_head(four)


def shut_down(four: Cluster) -> Mutation:
    failures.shut_down()
    return servers.resume


def knowing_less(four: Cluster) -> Mutation:
    servers.cluster()
    return lambda: recovery.enter("a reason")


def recovering(four: Cluster) -> Mutation:
    servers.cluster()
    recovery.enter("a reason")
    return recovery.leave


KNOWN: dict[str, Any] = {
    "key": "disk-1",
    "title": "a disk",
    "risk": 6,
    "hours": 2,
    "reason": "it is ordered",
}


def acknowledged(four: Cluster) -> Mutation:
    acknowledgements.acknowledge(**KNOWN)
    return lambda: acknowledgements.tell_again("disk-1")


def call(act: Callable[..., object], *args: Any, **more: Any) -> Mutation:
    return lambda: act(*args, **more)


SCENARIOS: dict[Action, Callable[[Cluster], Mutation]] = {
    Action.REGISTER_HEAD: lambda four: call(registration.register_head, addresses=["10.1.1.1"]),
    Action.REGISTER_STORAGE: lambda four: call(
        registration.register_storage, addresses=["10.1.1.1"]
    ),
    Action.REGISTER_DISK: lambda four: call(
        disks.register_disk,
        server_id=a_disk(four).server_id,
        local_path="/dev/new",
        capacity_sectors=9 << 21,
    ),
    Action.MOVE_SERVER: lambda four: call(registration.move, a_head(four), ["10.1.1.1"]),
    Action.RENAME_SERVER: lambda four: call(names.rename, a_head(four), "north-1"),
    Action.FORGET_NODE: lambda four: call(registration.forget_node, known_node(four)),
    Action.DELETE_HEAD: lambda four: call(servers.delete_head, down(HeadServer)),
    Action.DELETE_STORAGE: lambda four: call(servers.delete_storage, down(StorageServer)),
    Action.DELETE_DISK: lambda four: call(servers.delete_disk, down(Disk)),
    Action.CREATE_VOLUME: lambda four: call(volumes.create_volume, name="new", capacity_gb=3),
    Action.DELETE_VOLUME: lambda four: call(volumes.delete_volume, four.create()),
    Action.CREATE_SNAPSHOT: lambda four: call(
        snapshots.create_snapshot, origin=four.create(), name="before"
    ),
    Action.DELETE_SNAPSHOT: lambda four: call(snapshots.delete_snapshot, snapshot_of(four)),
    Action.BREAK_SNAPSHOT: broken_snapshot,
    Action.ATTACH: lambda four: call(attach.request_attach, four.create(), a_head(four).pk),
    Action.DETACH: lambda four: call(detach.request_detach, attached(four)),
    Action.FENCE: fence,
    Action.FAIL_HEAD: lambda four: call(failures.fail_head, a_head(four).pk),
    Action.LOSE_HEAD: lambda four: call(failures.lose_head, a_head(four).pk),
    Action.FAIL_STORAGE: lambda four: call(failures.fail_storage, a_disk(four).server_id),
    Action.FAIL_DISK: lambda four: call(failures.fail_disk, a_disk(four).pk),
    Action.LOSE_DISK: lambda four: call(failures.lose_disk, a_disk(four).pk),
    Action.TAKE_BACK_FAILURE: with_a_failed_disk,
    Action.FAIL_REPLICA: with_replica,
    Action.REPORT_BAD_BLOCKS: lambda four: call(failures.report_bad_blocks, a_disk(four).pk, [50]),
    Action.FINISH_SHRED: finish_shred,
    Action.FINISH_REBUILD: finish_rebuild,
    Action.SHUT_DOWN: lambda four: failures.shut_down,
    Action.RESUME: shut_down,
    Action.BEGIN_RECOVERY: knowing_less,
    Action.END_RECOVERY: recovering,
    Action.START_EVACUATION: lambda four: call(drain.start_evacuation, a_disk(four)),
    Action.RETURN_TO_SERVICE: lambda four: call(drain.return_to_service, evacuating(four).disk),
    Action.START_MAINTENANCE: lambda four: call(drain.start_maintenance, a_disk(four), 5),
    Action.PAUSE_JOB: lambda four: call(drain.pause, evacuating(four), paused=True),
    Action.RESUME_JOB: lambda four: call(drain.pause, evacuating(four, paused=True), paused=False),
    Action.RETRY_JOB: lambda four: call(operations.retry_job, attaching(four)),
    Action.CANCEL_JOB: lambda four: call(operations.cancel_job, attaching(four)),
    Action.START_BATCH: lambda four: call(
        batches.request_batch, Batch.Kind.DELETE, [four.create()]
    ),
    Action.SCRUB_VOLUME: lambda four: call(passes.request_scrub, four.create()),
    Action.PAUSE_SCRUBS: lambda four: call(passes.pause_scrubs, paused=True),
    Action.RESUME_SCRUBS: resume_scrubs,
    Action.MEND_BLOCK: mend_block,
    Action.ACKNOWLEDGE: lambda four: call(acknowledgements.acknowledge, **KNOWN),
    Action.END_ACKNOWLEDGEMENT: acknowledged,
    Action.FORCE_JOB: lambda four: call(operations.force_job, attaching(four)),
}
AGAIN_CHANGES_NOTHING = [
    Action.MOVE_SERVER,
    Action.RENAME_SERVER,
    Action.FORGET_NODE,
    Action.BREAK_SNAPSHOT,
    Action.FENCE,
    Action.FAIL_HEAD,
    Action.LOSE_HEAD,
    Action.FAIL_STORAGE,
    Action.FAIL_DISK,
    Action.LOSE_DISK,
    Action.TAKE_BACK_FAILURE,
    Action.FAIL_REPLICA,
    Action.REPORT_BAD_BLOCKS,
    Action.RETURN_TO_SERVICE,
    Action.FINISH_SHRED,
    Action.FINISH_REBUILD,
    Action.SHUT_DOWN,
    Action.RESUME,
    Action.BEGIN_RECOVERY,
    Action.END_RECOVERY,
    Action.PAUSE_JOB,
    Action.RESUME_JOB,
    Action.PAUSE_SCRUBS,
    Action.RESUME_SCRUBS,
]


# -- what is written down -------------------------------------------------------------------------


def everything() -> dict[str, list[Any]]:
    """Read all rows of all tables that are ours."""
    models = [*apps.get_app_config("inventory").get_models()]
    models += apps.get_app_config("volumes").get_models()
    return {m.__name__: sorted(m._default_manager.values_list(), key=str) for m in models}


@pytest.fixture
def no_pen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the audit row fail to be written from now on."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the audit log is full")

    return lambda: monkeypatch.setattr(AuditEntry.objects, "create", fail)


def test_every_verb_is_driven() -> None:
    assert set(Action) - ELSEWHERE == set(SCENARIOS)


@pytest.mark.parametrize("verb", SCENARIOS, ids=str)
def test_a_mutation_is_one_row_with_its_actor(four: Cluster, verb: Action) -> None:
    mutation = SCENARIOS[verb](four)
    AuditEntry.objects.all().delete()

    with audit.acting_as("alice", Entrance.CONSOLE):
        mutation()

    (row,) = AuditEntry.objects.all()
    assert (row.verb, row.actor, row.way) == (verb, "alice", "console")
    assert row.subject


@pytest.mark.parametrize("verb", SCENARIOS, ids=str)
def test_what_cannot_be_written_down_does_not_happen(
    four: Cluster, verb: Action, no_pen: Callable[[], None]
) -> None:
    mutation = SCENARIOS[verb](four)
    before = everything()
    no_pen()

    with pytest.raises(RuntimeError, match="full"):
        mutation()

    assert everything() == before


@pytest.mark.parametrize("verb", SCENARIOS, ids=str)
def test_the_second_time_is_refused_or_written_down_only_if_it_changes_something(
    four: Cluster, verb: Action
) -> None:
    mutation = SCENARIOS[verb](four)
    mutation()
    before = everything()

    try:
        mutation()
    except Refused:
        assert everything() == before
        return
    added = AuditEntry.objects.count() - len(before["AuditEntry"])
    assert added == (0 if verb in AGAIN_CHANGES_NOTHING else 1)


def test_a_failed_head_and_each_group_taken_from_it_are_rows(four: Cluster) -> None:
    volume = attached(four)
    AuditEntry.objects.all().delete()

    failures.fail_head(a_head(four).pk, "on fire")

    rows = AuditEntry.objects.order_by("pk").values_list("verb", "subject")
    assert list(rows) == [("fence", str(volume)), ("fail_head", "hsvr-00000001")]


def test_the_same_boot_that_registers_again_is_no_news(db: None) -> None:
    for _ in range(2):
        registration.register_head(addresses=["10.1.1.1"], boot_id="b", rack="r1")
    registration.register_head(addresses=["10.1.1.1"], boot_id="b", rack="r2")

    assert AuditEntry.objects.count() == 2


def test_outside_a_transaction_nothing_is_written_down(db: None) -> None:
    with pytest.raises(Exception, match="no transaction"):
        audit.record(Action.SHUT_DOWN, "cluster")
