"""Notice that the database knows less than a node does: then the cluster enters recovery mode."""

from collections.abc import Iterator, Mapping

from django.db.models import Max

from agents.protocol import HeadState, StorageState
from inventory import ids, recovery, servers
from inventory.models import Extent
from volumes import labels
from volumes.orphans.standing import Known

NEXT = 1
"""Once space is zeroed, a node tells the generation that comes next."""


def look_at_storage(states: Mapping[int, StorageState], known: Known) -> None:
    """Compare what storage servers tell with what is known; all was read after they were asked."""
    found = list(_newer_numbers("ssvr", states, known))
    for server, state in states.items():
        for e in state.exports:
            if known.is_beyond(e.lvolid, e.epoch):
                what = f"lvol-{e.lvolid:08x} of epoch {e.epoch}"
                found.append(f"ssvr-{server:08x} exports {what}, which is newer")
    _enter([*found, *_newer_space(states)])


def look_at_heads(states: Mapping[int, HeadState], known: Known) -> None:
    """Compare what heads tell with what is known."""
    found = list(_newer_numbers("hsvr", states, known))
    for head, state in states.items():
        for group in state.groups:
            if known.is_beyond(group.lvolid, group.epoch):
                what = f"lvol-{group.lvolid:08x} of epoch {group.epoch}"
                found.append(f"hsvr-{head:08x} runs {what}, which is newer")
    _enter(found)


def _enter(reasons: list[str]) -> None:
    if reasons:
        recovery.enter(*labels.in_texts(f"{reason} than this database" for reason in reasons))


def _newer_numbers(
    kind: str, states: Mapping[int, StorageState | HeadState], known: Known
) -> Iterator[str]:
    """Say of which nodes a number was told that was never given out here."""
    incarnation, next_event = servers.cluster().incarnation, ids.next_of("event")
    for server, state in states.items():
        node, seen = f"{kind}-{server:08x}", state.seen
        if state.incarnation > incarnation:
            yield f"{node} obeys incarnation {state.incarnation}, which is newer"
        if seen.event >= next_event:
            yield f"{node} was told of event {seen.event}, which is newer"
        if known.is_beyond(seen.group):
            yield f"{node} was told of lvol-{seen.group:08x}, which is newer"
        if known.is_beyond(seen.extent):
            yield f"{node} was told of dext-{seen.extent:08x}, which is newer"


def _newer_space(states: Mapping[int, StorageState]) -> Iterator[str]:
    """Say which disks hold space of a generation that was never given out here."""
    told = {
        disk.pdskid: disk.generation
        for state in states.values()
        for disk in state.disks
        if disk.pdskid and disk.generation
    }
    newest = Extent.objects.filter(disk__in=told).values_list("disk").annotate(Max("generation"))
    for disk, generation in newest.order_by("disk") if told else ():
        if told[disk] > generation + NEXT:
            yield f"pdsk-{disk:08x} holds space of generation {told[disk]}, which is newer"
