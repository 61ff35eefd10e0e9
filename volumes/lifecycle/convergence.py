"""Requests that come a second time, because an answer was lost: what was asked for is there.

Each does what its plain request does, and gives what the first try made instead of a refusal. What
only has to end first is TryAgain here, so that Busy and Exists mean: not by waiting.
"""

from inventory.errors import Busy, Exists, NotFound, TryAgain
from volumes.attach import attach, detach
from volumes.jobs import queue
from volumes.lifecycle import snapshots, volumes
from volumes.models import Attachment, Job, LogicalVolume

State = Attachment.State


def create_volume(*, name: str, capacity_gb: int, redundancy: int, tags: str) -> LogicalVolume:
    """Create a volume, or find the one of this name, size, redundancy and tags."""
    try:
        return volumes.create_volume(
            name=name, capacity_gb=capacity_gb, redundancy=redundancy, tags=tags
        )
    except Exists:
        alike = LogicalVolume.objects.filter(
            name=name, capacity_gb=capacity_gb, redundancy=redundancy, origin=None
        )
        found = alike.first()
        if found is None or set(found.tags.split()) != set(tags.split()):
            raise
        return found


def create_snapshot(*, origin: LogicalVolume, name: str) -> tuple[LogicalVolume, Job | None]:
    """Create a snapshot, or find the one of this name and origin; with the job that shows it."""
    try:
        return snapshots.create_snapshot(origin=origin, name=name)
    except Exists:
        # The job first: where it is over by then, a snapshot that is there was made.
        job = _open(Job.Kind.SNAPSHOT, volume=origin, snapshot__name=name)
        found = LogicalVolume.objects.filter(name=name, origin=origin).first()
        if found is None:
            raise
        return found, job
    except Busy as refusal:
        raise TryAgain(str(refusal)) from None


def delete(*, lvolid: int, lvolname: str) -> Job | None:
    """Delete a volume or snapshot; one that does not exist is deleted."""
    try:
        volume = volumes.find_volume(lvolid=lvolid, lvolname=lvolname)
        if volume.origin_id:
            return _delete_snapshot(volume)
        if job := queue.exclusive(volume):
            raise TryAgain(f"{volume.name}: {job.kind} is under way")
        volumes.delete_volume(volume)
    except NotFound:
        pass
    return None


def _delete_snapshot(snapshot: LogicalVolume) -> Job | None:
    """Delete it, or join the deletion under way."""
    try:
        return snapshots.delete_snapshot(snapshot)
    except Busy as refusal:
        if job := _open(Job.Kind.UNSNAPSHOT, snapshot=snapshot):
            return job
        raise TryAgain(str(refusal)) from None


def attach_volume(volume: LogicalVolume, head_id: int) -> Job | None:
    """Attach a volume, join the attach there that is under way, or find it attached there."""
    try:
        return attach.request_attach(volume, head_id)
    except Busy as refusal:
        # The job first: where it is over by then, the state tells how it ended.
        job = _open(Job.Kind.ATTACH, volume=volume)
        attached = Attachment.objects.filter(volume=volume).first()
        state, head = (attached.state, attached.head_id) if attached else ("", 0)
        if state == State.BOUND and head == head_id:
            return None
        if state == State.BINDING and head == head_id and job:
            return job
        if state in {State.BOUND, State.ERROR}:
            raise
        raise TryAgain(str(refusal)) from None


def detach_volume(volume: LogicalVolume) -> Job | None:
    """Detach a volume, or join the detach that is under way; None when it is not attached."""
    try:
        return detach.request_detach(volume)
    except TryAgain:
        job = _open(Job.Kind.DETACH, volume=volume) or _open(Job.Kind.FENCE, volume=volume)
        if job is None:
            raise
        return job


def _open(kind: Job.Kind, **about: LogicalVolume | str) -> Job | None:
    return Job.objects.filter(kind=kind, state=Job.State.OPEN, **about).first()
