"""Which role may call which method, and for which servers an agent may speak."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.db.models import Q

from agents.protocol import Target
from inventory import audit, refused_nodes, registration
from inventory.errors import Forbidden
from inventory.models import Address, Disk, Extent, HeadServer, StorageServer
from inventory.server_rpc import parse_addresses
from inventory.write_lock import write_lock
from vastsky_site.access import tokens
from vastsky_site.access.authentication import Caller
from vastsky_site.models import ApiToken
from volumes import labels
from volumes.models import Replica

Role = ApiToken.Role

READ = frozenset({Role.READER, Role.MONITOR, Role.OPERATOR, Role.ADMIN})
EVERYBODY = frozenset(Role)
OPERATE = frozenset({Role.OPERATOR, Role.ADMIN})
REPORT = frozenset({Role.MONITOR, Role.AGENT, Role.ADMIN})
NODE = frozenset({Role.AGENT, Role.ADMIN})
ADMIN = frozenset({Role.ADMIN})

METHODS: dict[str, frozenset[Role]] = {
    "registerHeadServer": NODE,
    "registerStorageServer": NODE,
    "registerPhysicalDisk": NODE,
    "deletePhysicalDisk": ADMIN,
    "deleteHeadServer": ADMIN,
    "deleteStorageServer": ADMIN,
    "createLogicalVolume": OPERATE,
    "createSnapshot": OPERATE,
    "deleteLogicalVolume": OPERATE,
    "attachLogicalVolume": OPERATE,
    "detachLogicalVolume": OPERATE,
    "listLogicalVolumes": READ,
    "showLogicalVolume": READ,
    "listHeadServers": EVERYBODY,
    "listStorageServers": EVERYBODY,
    "listPhysicalDisks": EVERYBODY,
    "listEvents": READ,
    "notifyFailure": REPORT,
    "notifyBadBlocks": REPORT,
    "notifyShredFinished": NODE,
    "notifyRebuildMirrorFinished": NODE,
    "shutdownAll": ADMIN,
    "vastsky.clusterInfo": EVERYBODY,
    "vastsky.listNodes": READ,
    "vastsky.listJobs": READ,
    "vastsky.showJob": READ,
    "vastsky.capacity": READ,
    "vastsky.planVolume": READ,
    "vastsky.planFailure": READ,
    "vastsky.listEvents": READ,
    "vastsky.samples": READ,
    "vastsky.listOrphans": READ,
    "vastsky.listWaiting": READ,
    "vastsky.forceAttach": OPERATE,
    "vastsky.planEvacuation": READ,
    "vastsky.resume": OPERATE,
    "vastsky.moveServer": ADMIN,
    "vastsky.renameServer": ADMIN,
    "vastsky.forgetNode": ADMIN,
    "vastsky.evacuate": OPERATE,
    "vastsky.returnToService": OPERATE,
    "vastsky.maintenance": OPERATE,
    "vastsky.pauseJob": OPERATE,
    "vastsky.resumeJob": OPERATE,
    "vastsky.cancelJob": OPERATE,
    "vastsky.retryJob": OPERATE,
    "vastsky.forceJob": OPERATE,
    "vastsky.scrubVolume": OPERATE,
    "vastsky.pauseScrubs": OPERATE,
    "vastsky.resumeScrubs": OPERATE,
    "vastsky.listUnequalBlocks": READ,
    "vastsky.mendBlock": OPERATE,
    "vastsky.listTokens": ADMIN,
    "vastsky.createToken": ADMIN,
    "vastsky.revokeToken": ADMIN,
    "vastsky.listWebhooks": OPERATE,
    "vastsky.addWebhook": ADMIN,
    "vastsky.removeWebhook": ADMIN,
    "vastsky.testWebhook": OPERATE,
    "system.listMethods": EVERYBODY,
    "system.methodHelp": EVERYBODY,
    "system.methodSignature": EVERYBODY,
}
"""A method that is not here is open to nobody."""

READS = frozenset(method for method, roles in METHODS.items() if Role.READER in roles)
"""The methods that change nothing."""

NOBODY = Caller("", Role.READER, audit.Entrance.RPC)
_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


@contextmanager
def calling_as(caller: Caller) -> Iterator[None]:
    """Let what is done in here be allowed, and written down, for this caller."""
    before = _caller.set(caller)
    try:
        with audit.acting_as(caller.name, caller.way):
            yield
    finally:
        _caller.reset(before)


def require(method: str) -> None:
    """Refuse a method that the caller's role does not have."""
    caller = _caller.get()
    if caller is NOBODY or caller.role not in METHODS.get(method, ()):
        raise Forbidden(f"{caller.name} has the role {caller.role.value}, which has no {method}")


def perform(method: str, procedure: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call the procedure; an agent only where it speaks for its own server."""
    caller = _caller.get()
    if method in REGISTRATIONS:
        return _register(REGISTRATIONS[method], caller, procedure, arguments)
    if caller.role != Role.AGENT:
        return procedure(**arguments)
    owns = OWN.get(method)
    if owns and not owns(caller, **arguments):
        raise Forbidden(f"{caller.name} speaks for its own node only, and this is about another")
    return procedure(**arguments)


# -- a node's registration ------------------------------------------------------------------------

REGISTRATIONS = {"registerHeadServer": "head", "registerStorageServer": "storage"}
SERVERS: dict[str, type[HeadServer] | type[StorageServer]] = {
    "head": HeadServer,
    "storage": StorageServer,
}
FIND: dict[str, Callable[..., HeadServer | StorageServer | None]] = {
    "head": partial(registration.find, HeadServer),
    "storage": partial(registration.find, StorageServer),
}


def _register(
    kind: str, caller: Caller, procedure: Callable[..., Any], arguments: dict[str, Any]
) -> Any:
    """Register a node; a person is told of one that is refused."""
    addresses = parse_addresses(arguments["ip_data"])
    with refused_nodes.noting(kind, arguments.get("node_uuid", ""), addresses):
        if caller.role != Role.AGENT:
            return procedure(**arguments)
        return _register_own(kind, caller, procedure, arguments)


def _register_own(
    kind: str, caller: Caller, procedure: Callable[..., Any], arguments: dict[str, Any]
) -> Any:
    """Register an agent's own server; a token that speaks for none yet speaks for this one then."""
    known = _known(kind, arguments)
    bound = getattr(caller, kind)
    if not bound and len(known) == 1:
        # In a change of its own: where the server is up still, an older agent reports its failure
        # next.
        (bound,) = known
        _bind(kind, caller, bound)
    if bound and known != {bound}:
        raise Forbidden(_another(kind, caller, bound, arguments))
    with write_lock():
        server = procedure(**arguments)
        if not bound:
            _bind(kind, caller, server)
    return server


def _known(kind: str, arguments: dict[str, Any]) -> set[int]:
    """Tell which servers it may be; one that does not say who it is: all that it would touch."""
    addresses = parse_addresses(arguments["ip_data"])
    if not (node_uuid := arguments.get("node_uuid", "")):
        rows = Address.objects.filter(address__in=addresses)
        return set(rows.exclude(**{kind: None}).values_list(kind, flat=True))
    number = arguments.get(f"{kind[0]}svrid", 0)
    found = FIND[kind](addresses, node_uuid, number)
    return {found.pk} if found else set()


def _another(kind: str, caller: Caller, bound: int, arguments: dict[str, Any]) -> str:
    text = f"{caller.name} speaks for another {kind} server"
    if not arguments.get("node_uuid"):
        return text
    server = labels.in_text(str(SERVERS[kind](pk=bound)))
    return (
        f"{text}: {server}, which was another node. Where this one lost its state_dir, or takes"
        f" its place, vastsky.forgetNode lets it be {server}; else it needs a token of its own"
    )


def _bind(kind: str, caller: Caller, server: int) -> None:
    with write_lock():
        others = ApiToken.objects.filter(revoked=None, **{kind: server}).exclude(pk=caller.token)
        if others.exists() or not tokens.bind_token(caller.token, **{kind: server}):
            raise Forbidden(
                f"{caller.name} cannot speak for this {kind} server: another token does"
            )


# -- what an agent may speak of -------------------------------------------------------------------


def _own_head(caller: Caller, *, hsvrid: int = 0, **_: Any) -> bool:
    return hsvrid in (0, caller.head)


def _own_storage(caller: Caller, *, ssvrid: int = 0, **_: Any) -> bool:
    return ssvrid in (0, caller.storage)


def _own_disk(caller: Caller, *, pdskid: int, **_: Any) -> bool:
    return Disk.objects.filter(pk=pdskid, server=caller.storage).exists()


def _own_extent(caller: Caller, *, dextid: int, **_: Any) -> bool:
    return Extent.objects.filter(pk=dextid, disk__server=caller.storage).exists()


def _own_replicas(caller: Caller, dextids: Collection[int]) -> bool:
    """Tell whether all these are on the agent's disks, or of volumes attached to its head."""
    on_disks = Extent.objects.filter(pk__in=dextids, disk__server=caller.storage)
    used = Replica.objects.filter(pk__in=dextids).filter(
        Q(mirror__volume__attachment__head=caller.head)
        | Q(mirror__volume__origin__attachment__head=caller.head)
    )
    found = {*on_disks.values_list("pk", flat=True), *used.values_list("pk", flat=True)}
    return found == set(dextids)


def _own_failure(caller: Caller, *, target: int, targetid: int, **_: Any) -> bool:
    match target:
        case Target.HEAD:
            return targetid == caller.head
        case Target.STORAGE:
            return targetid == caller.storage
        case Target.DISK:
            return _own_disk(caller, pdskid=targetid)
        case _:
            return _own_replicas(caller, [targetid])


def _own_rebuild(caller: Caller, *, dexts: list[dict[str, int]], **_: Any) -> bool:
    return _own_replicas(caller, [replica["dextid"] for replica in dexts])


OWN: dict[str, Callable[..., bool]] = {
    "registerPhysicalDisk": _own_storage,
    "listHeadServers": _own_head,
    "listStorageServers": _own_storage,
    "listPhysicalDisks": _own_storage,
    "notifyFailure": _own_failure,
    "notifyBadBlocks": _own_disk,
    "notifyShredFinished": _own_extent,
    "notifyRebuildMirrorFinished": _own_rebuild,
}
