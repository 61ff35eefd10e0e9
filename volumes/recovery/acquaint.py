"""Make an empty database know its nodes again: those that an operator names, or that register."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from agents.protocol import HeadState, StorageState
from inventory import audit, clock, ids, recovery, registration, servers, space
from inventory.errors import Invalid
from inventory.models import Address, Cluster, Disk, HeadServer, StorageServer
from inventory.write_lock import write_lock
from volumes import nodes
from volumes.models import LogicalVolume
from volumes.recovery import held, survey
from volumes.replicas.rows import storage_addresses

State = StorageState | HeadState


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A node as it tells itself, and where it was asked."""

    addresses: tuple[str, ...]
    state: State

    @property
    def number(self) -> int:
        """The number that it had."""
        return self.state.ssvrid if isinstance(self.state, StorageState) else self.state.hsvrid


def learn(named: Sequence[tuple[str, ...]]) -> list[FoundNode]:
    """Ask each node at its addresses, and write down what it is; Invalid unless all is empty.

    A machine may be a head and a storage server at once: each is asked for both.
    """
    if LogicalVolume.objects.exists() or StorageServer.objects.exists():
        raise Invalid("the database is not empty: it has servers or volumes")
    found = _ask(named)
    if not found:
        raise Invalid("nobody answers there")
    clusters = {one.state.cluster for one in found}
    if len(clusters) != 1 or clusters == {""}:
        raise Invalid(f"these nodes belong to {len(clusters)} clusters: {', '.join(clusters)}")
    _refuse_copies(found)
    _write_servers(found)
    told = survey.take()
    places = {disk.name: disk.server for disk in told.disks}
    _write_disks(found, places, held.plan_now(told).next_id)
    return found


def meet() -> list[FoundNode]:
    """Write down the disks of servers that registered by themselves; those that had any to tell.

    They register as ever in recovery mode, with the numbers that they had; their disks may not.
    """
    if not recovery.why():
        raise Invalid("the cluster is not in recovery mode: disks register by themselves")
    where = storage_addresses(list(StorageServer.objects.values_list("pk", flat=True)))
    agents = nodes.storages(list(where))
    answers = nodes.ask_all({pk: agent.state for pk, agent in agents.items()})
    known = set(Disk.objects.values_list("disk_uuid", flat=True))
    found = [
        FoundNode(addresses, state)
        for pk, addresses in where.items()
        if isinstance(state := answers[pk], StorageState)
        and state.ssvrid == pk
        and not known.issuperset(disk.disk for disk in state.disks)
    ]
    told = survey.take()
    places = {disk.name: disk.server for disk in told.disks}
    _write_disks(found, places, held.plan_now(told).next_id)
    return found


def _ask(named: Sequence[tuple[str, ...]]) -> list[FoundNode]:
    answers = nodes.ask_all({2 * n: nodes.storage_at(where).state for n, where in enumerate(named)})
    heads = nodes.ask_all({2 * n: nodes.head_at(where).state for n, where in enumerate(named)})
    return [
        FoundNode(named[n // 2], state)
        for told in (answers, heads)
        for n, state in told.items()
        if isinstance(state, State)
    ]


def _refuse_copies(found: Iterable[FoundNode]) -> None:
    """A node that answers twice was named twice, or copied: nobody could tell which is which."""
    seen: dict[tuple[type[State], object], FoundNode] = {}
    for one in found:
        for name in {one.number, one.state.node_uuid} - {0, ""}:
            first = seen.setdefault((type(one.state), name), one)
            if first is not one:
                raise Invalid(
                    f"the nodes at {first.addresses[0]} and at {one.addresses[0]} are both {name}:"
                    " name one of them, and start the copy with an empty state_dir"
                )


@write_lock()
def _write_servers(found: Iterable[FoundNode]) -> None:
    servers.cluster()
    first = next(iter(found)).state
    newest = max(one.state.incarnation for one in found)
    Cluster.objects.filter(pk=1).update(uuid=UUID(first.cluster), incarnation=newest)
    recovery.enter("an empty database, which knows less than its nodes")
    for one in found:
        kind = "storage" if isinstance(one.state, StorageState) else "head"
        recovery.skip_to(kind, max(one.number + 1, ids.next_of(kind)))
        about = {
            "id": one.number or ids.take(kind)[0],
            "node_uuid": one.state.node_uuid,
            # It goes on: at its registration it is no new start that has lost what it ran.
            "boot_id": one.state.boot_id,
            "last_answer": clock.now(),
            "priority_since": clock.now(),
        }
        row = (StorageServer if kind == "storage" else HeadServer).objects.create(**about)
        for position, address in enumerate(one.addresses):
            Address.objects.create(address=address, position=position, **{kind: row})
        audit.record(registration.REGISTER[type(row)], row, f"from the node at {one.addresses[0]}")


@transaction.atomic
def _write_disks(found: Iterable[FoundNode], places: Mapping[str, int], next_id: int) -> None:
    """Numbers of extents begin above all that disks tell of: what lies there keeps its own.

    Of two disks that bear one label, `places` tells on which server the one is that is taken.
    """
    ids.lock("volume")
    recovery.skip_to("volume", next_id)
    known = set(Disk.objects.values_list("disk_uuid", flat=True))
    numbers = set(Disk.objects.values_list("pk", flat=True))
    for one in found:
        if not isinstance(one.state, StorageState):
            continue
        for told in one.state.disks:
            if told.disk in known or places.get(told.disk, one.number) != one.number:
                continue
            recovery.skip_to("disk", max(told.pdskid + 1, ids.next_of("disk")))
            disk = Disk.objects.create(
                id=ids.take("disk")[0] if told.pdskid in {0, *numbers} else told.pdskid,
                server_id=one.number,
                disk_uuid=told.disk,
                local_path=told.local_path,
                capacity_gb=told.capacity_gb,
                priority_since=clock.now(),
            )
            space.tile(disk, told.generation)
            audit.record(audit.Action.REGISTER_DISK, disk, f"from its label, {told.local_path}")
