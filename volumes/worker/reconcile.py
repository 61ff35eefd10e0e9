"""Ask every node what it has and does; compare with the rows, and mend what differs."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db.models import Q

from agents.protocol import GroupState, HeadState, Reason, RelocateOrder, ReplicaState, StorageState
from agents.struct_codec import Malformed
from inventory import clock, events, ids, outages, recovery, servers
from inventory.models import ALIVE, HeadServer, StorageServer, Watch
from inventory.write_lock import write_lock
from volumes import labels, nodes
from volumes.attach import detach, exports
from volumes.jobs import queue
from volumes.models import Attachment, LogicalVolume, Replica
from volumes.paths import watch as path_watch
from volumes.recovery import returned, sweep
from volumes.repair import failures, requests, shred
from volumes.replicas import broken, rows
from volumes.replicas.rows import GOOD, ReplicaRow
from volumes.scrub import passes
from volumes.worker import descriptors, disks_told

logger = logging.getLogger(__name__)

State = TypeVar("State", StorageState, HeadState)

SETTLED = timedelta(seconds=5)
"""A group that was bound more recently than this may be missing from an older answer."""


def reconcile(is_ours: Callable[[], bool] = lambda: True) -> None:
    """Look after everything once; each part goes on where another fails.

    `is_ours` is asked between the parts: it ends where another worker does this by now.
    """
    for part in (*PARTS, *MENDING):
        if not is_ours() or (part in MENDING and recovery.why()):
            return
        try:
            part()
        except Exception:
            logger.exception("a part of reconciling failed: %s", part.__name__)
            # Whoever leads stays in its round: nobody else would ever let the connection go.
            outages.recover()


# -- the time between two rounds ------------------------------------------------------------------


def resume_watch() -> None:
    """Leave out of all silences a time in which nobody asked: nobody could have heard an answer."""
    excess = _unasked() - _interval()
    if excess > timedelta():
        with write_lock():
            servers.forgive_silence(excess)
            Watch.objects.filter(pk=1).update(asked=clock.now() - _interval())
        logger.warning("the nodes were asked %s late: that counts as no silence", excess)


def note_watch() -> None:
    """Record that all were asked until now, and that our numbers are ours if nobody knows more.

    Who is silent may.
    """
    watch = Watch.objects.filter(pk=1)
    watch.update(asked=clock.now())
    if not recovery.why() and not servers.is_any_silent():
        watch.update(numbers=ids.next_of("volume"))


def _unasked() -> timedelta:
    """Tell for how long nobody has asked the nodes; nothing where nobody ever did."""
    asked = Watch.objects.filter(pk=1).values_list("asked", flat=True).first()
    return clock.now() - asked if asked else timedelta()


def _interval() -> timedelta:
    return timedelta(seconds=settings.VASTSKY_RECONCILE_SECONDS)


# -- storage servers ------------------------------------------------------------------------------


def reconcile_storage() -> None:
    """Ask the storage servers; note silence, failed disks, and exports that nobody may use."""
    asked = clock.now()
    states = _ask(StorageServer, StorageState, nodes.storage_agents_by_address())
    sweep.sweep_exports(states)
    disks_told.note_refused(states, asked)
    if recovery.why():
        return
    for server in _gone(StorageServer):
        logger.warning("storage server %s is silent for too long", labels.storage(server))
        failures.fail_storage(server, Reason.SILENT)
    disks_told.take_over(states, asked)
    descriptors.write_missing(states)


# -- head servers ---------------------------------------------------------------------------------


def reconcile_heads() -> None:
    """Ask the heads; note silence, replicas that went bad, and groups that should not be there."""
    asked = clock.now()
    states = _ask(HeadServer, HeadState, nodes.head_agents_by_address())
    sweep.sweep_groups(states)
    if recovery.why():
        return
    for head in _gone(HeadServer):
        logger.warning("head server %s is silent for too long", labels.head(head))
        failures.lose_head(head)
    for head, state in states.items():
        _note_broken(head, state)
        _fence_missing(head, state, asked)
        own = _bound_groups(head, state)
        _break_forgotten(head, own, asked - timedelta(seconds=state.age) - SETTLED)
        _note_waiting(own)
        _fail_replicas(own)
        _export_to_the_dead(own)
    failures.forget_waiting()


def _note_broken(head: int, state: HeadState) -> None:
    """Take a head's word that snapshots are broken, though their group may be elsewhere by now.

    Nobody else knows that it let its clients overwrite what it could not keep.
    """
    for group in state.groups:
        lost = [device.lvolid for device in group.devices if device.broken]
        news = Q(pk__in=lost, origin=group.lvolid, origin__epoch__gte=group.epoch, broken=False)
        if lost and LogicalVolume.objects.filter(news).exists():
            why = "could not keep in its store what its origin overwrote"
            with write_lock():
                broken.break_snapshots(news, f"{labels.head(head)} {why}")


def _break_forgotten(head: int, groups: list[GroupState], before: datetime) -> None:
    """A head that runs an origin without a snapshot of it keeps nothing for that snapshot.

    What it shows of it, links that lead nowhere for example, it has to take away.
    """
    shown = {group.lvolid: {device.lvolid for device in group.devices} for group in groups}
    found = broken.forgotten(shown, before)
    if not found:
        return
    with write_lock():
        found = broken.forgotten(shown, before)
        broken.break_snapshots(Q(pk__in=found), f"{labels.head(head)} ran its origin without it")
    for snapshot, origin in found.items():
        logger.error(
            "%s runs %s without %s",
            labels.head(head),
            labels.volume(origin),
            labels.volume(snapshot),
        )
        sweep.remove_snapshot(head, next(g for g in groups if g.lvolid == origin), snapshot)


def _fence_missing(head: int, state: HeadState, asked: datetime) -> None:
    """A head that does not run what is bound there has lost it, by a reboot for example."""
    running = {
        (group.lvolid, group.epoch)
        for group in state.groups
        if any(device.lvolid == group.lvolid for device in group.devices)
    }
    known = asked - timedelta(seconds=state.age)
    bound = Attachment.objects.filter(
        head=head, state=Attachment.State.BOUND, since__lt=known - SETTLED
    ).select_related("volume", "head")
    for attachment in bound:
        if (attachment.volume_id, attachment.volume.epoch) not in running:
            label = attachment.head.label
            logger.warning("%s lost %s", label, labels.volume(attachment.volume_id))
            with write_lock():
                detach.request_fence(attachment, f"{label} does not run it any more")


def _bound_groups(head: int, state: HeadState) -> list[GroupState]:
    """Pick the groups that are the head's own: one that was fenced off lost its replicas to that.

    What it says of them is no news of the replicas, which by now may be used elsewhere.
    """
    bound = Attachment.objects.filter(head=head, state=Attachment.State.BOUND)
    own = set(bound.values_list("volume", "volume__epoch"))
    return [group for group in state.groups if (group.lvolid, group.epoch) in own]


def _note_waiting(groups: list[GroupState]) -> None:
    """Take over which volumes wait for storage: of those nothing is failed until they go on."""
    devices = [device for group in groups if group.alive for device in group.devices]
    failures.note_waiting({device.lvolid: device.waiting for device in devices})


def _fail_replicas(groups: list[GroupState]) -> None:
    """Take over the replicas that a head lost, in case its own report did not come through.

    A last good replica that is out of reach stays good; it is exported anew once its server is
    back.
    """
    told = {replica.dextid: replica for group in groups for replica in group.replicas}
    faulty = [dextid for dextid, replica in told.items() if replica.state == ReplicaState.FAULTY]
    unknown = Replica.objects.filter(pk__in=faulty, status__in=GOOD)
    if unknown.exists():
        insync = [
            dextid for dextid, replica in told.items() if replica.state == ReplicaState.INSYNC
        ]
        failures.trust_head(insync, faulty)
    for dextid in unknown.values_list("pk", flat=True):
        failures.fail_replica(dextid, told[dextid].reason or Reason.IO)
    cut_off = [
        d for d, replica in told.items() if replica.state == ReplicaState.INSYNC and replica.reason
    ]
    if cut_off:
        failures.note_cut_off(cut_off)
    failures.forget_cut_off([group.lvolid for group in groups if group.alive], cut_off)


def _export_to_the_dead(groups: list[GroupState]) -> None:
    """Have the replicas exported again of groups whose process is dead: revival needs them.

    Their servers may have been started anew meanwhile, and then export nothing; or elsewhere, and
    then their head looks for them in vain. A group that lives says whom it lost; of one that died
    with its replicas nobody says anything.
    """
    for group in groups:
        if group.alive:
            continue
        used = {r.dextid for r in group.replicas if r.state == ReplicaState.INSYNC}
        replicas = [r for r in rows.of_group(group.lvolid) if r.good or r.dextid in used]
        wanted = [replica for replica in replicas if replica.alive]
        exported = exports.export(sweep.event(), group.lvolid, group.epoch, wanted)
        _tell_the_dead(group, [r for r in wanted if r.dextid in exported.sources], exported)


def _tell_the_dead(group: GroupState, wanted: list[ReplicaRow], exported: exports.Exported) -> None:
    """Tell their head where they are now; one that is busy with the group hears it next time."""
    where = tuple(exported.replica(replica, ReplicaState.INSYNC) for replica in wanted)
    head = Attachment.objects.filter(volume=group.lvolid).values_list("head", flat=True).first()
    if where and head:
        incarnation = servers.cluster().incarnation
        order = RelocateOrder(incarnation, group.lvolid, group.epoch, where)
        nodes.ask_all({head: partial(nodes.head(head).relocate, order)})


# -- both -----------------------------------------------------------------------------------------


def _ask(
    kind: type[HeadServer | StorageServer],
    answer: type[State],
    by_address: Mapping[int, nodes.AddressAgent],
) -> dict[int, State]:
    """Ask at every door at once, and note who is silent and why; the sane answers by server."""
    asked = clock.now()
    answers = nodes.ask_all({pk: door.agent.state for pk, door in by_address.items()})
    sane: dict[int, State] = {}
    silences: dict[int, str] = {}
    for pk, state in answers.items():
        if not isinstance(state, answer):
            sense = "no sane answer: " if isinstance(state, Malformed) else ""
            silences[pk] = f"{sense}{state}"
        elif not _is_meant(state, by_address[pk]):
            owner = _owner(state)
            who = str(kind(pk=owner)) if owner else "one that has no number yet"
            silences[pk] = f"another node answers there: {who}"
        else:
            silences[pk] = ""
            sane[by_address[pk].server] = state
    said = dict(zip(silences, labels.in_texts(silences.values()), strict=True))
    servers.record_answers(kind, said, asked)
    return sane


def _is_meant(state: StorageState | HeadState, door: nodes.AddressAgent) -> bool:
    """An agent of an older version does not say which node it is, but which server it was."""
    owner = _owner(state)
    return owner == door.server or (not owner and state.node_uuid == door.node_uuid)


def _owner(state: StorageState | HeadState) -> int:
    """The server that a node takes itself for; 0 while it does not know."""
    return state.ssvrid if isinstance(state, StorageState) else state.hsvrid


def _gone(kind: type[HeadServer | StorageServer]) -> list[int]:
    """Name the servers that have been silent for too long, counted from their last answer.

    That came with the round before the first question that they left unanswered.
    """
    silent = timedelta(seconds=settings.VASTSKY_OFFLINE_SECONDS) - _interval()
    limit = clock.now() - max(silent, timedelta())
    gone = kind.objects.filter(priority__in=ALIVE, silent_since__lte=limit)
    return list(gone.values_list("pk", flat=True))


PARTS = (
    resume_watch,
    reconcile_storage,
    reconcile_heads,
    returned.look,
    note_watch,
    path_watch.look,
)
MENDING = (
    failures.drop_absent,
    requests.request_missing,
    shred.request_missing,
    passes.request_due,
    queue.forget_old,
    events.forget_old,
)
"""What asks for work; in recovery mode nothing is asked for."""
