"""What an agent and its engine processes say to each other, as frozen dataclasses.

On the control socket each is one line of JSON. Processes outlive the agent that started them, so
an agent of one version talks to processes of another: a name on the wire stays as it is for ever
(`WIRE`), what is added to an order has a default, and an unknown member is ignored. One exception:
agents of the first version take the replicas of a reply, and leases, as they are. What those have
on the wire must not grow.
"""

import errno
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from agents.engines.base import DeviceAccess, DeviceFigures, EngineError, Lease
from agents.errors import AgentError
from agents.protocol import DeviceSpec, DeviceState, ReplicaReport, ReplicaSpec, VerifyOrder
from agents.struct_codec import WIRE, Malformed, from_struct, to_struct

T = TypeVar("T")

LOCK_VERSION = 1

# -- what a process is started with ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeadArguments:
    """With what a group's process is started. The group itself is in its state file."""

    folder: str
    run_dir: str
    links_dir: str
    lock: str
    log: str
    control: str
    boot_id: str
    rebuild_mib_per_s: int
    replica_timeout: float = field(metadata={WIRE: "leg_timeout"})
    revive: bool
    storage_wait: float = 60.0
    access: DeviceAccess = field(default_factory=DeviceAccess)


@dataclass(frozen=True, slots=True)
class DataServerArguments:
    """With what a data server is started."""

    lock: str
    log: str
    control: str
    addresses: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class LockHolder:
    """What a process writes into the lock file that it holds; `instance`: of a data server."""

    pid: int = 0
    instance: str = ""
    version: int = LOCK_VERSION


# -- to a group's process -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TellState:
    """Tell devices and replicas; the answer is a GroupReply."""


@dataclass(frozen=True, slots=True)
class TakeDown:
    """Close all devices and end; EBUSY while one is open. The answer is a TakenDown."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """Freeze the origin's content as a new device."""

    device: DeviceSpec


@dataclass(frozen=True, slots=True)
class RemoveSnapshot:
    """Take a snapshot's device away; EBUSY while it is open."""

    snapshot: int


@dataclass(frozen=True, slots=True)
class StartRebuild:
    """Bring a replica into sync; it takes the place of `replaces`, if that is not 0."""

    mirrorid: int
    replica: ReplicaSpec = field(metadata={WIRE: "leg"})
    replaces: int


@dataclass(frozen=True, slots=True)
class StopRebuild:
    """Stop the rebuild of a replica."""

    dextid: int


@dataclass(frozen=True, slots=True)
class VerifyBlocks:
    """Compare blocks of a mirror's replicas; the answer is a VerifyReply."""

    order: VerifyOrder


@dataclass(frozen=True, slots=True)
class GroupReply:
    """Devices and replicas of a group that runs; older processes have no `figures`."""

    devices: tuple[DeviceState, ...]
    replicas: tuple[ReplicaReport, ...] = field(metadata={WIRE: "copies"})
    figures: tuple[DeviceFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class TakenDown:
    """The replicas of a group that ends; `clean`: all that are in sync are known to be equal."""

    replicas: tuple[ReplicaReport, ...] = field(metadata={WIRE: "copies"})
    clean: bool


# -- to a data server -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TellLeases:
    """Tell what is served; the answer is a list of ServedLease."""


@dataclass(frozen=True, slots=True)
class TellFigures:
    """Tell what was counted; the answer is a DataServerFigures."""


@dataclass(frozen=True, slots=True)
class ServeLeases:
    """Serve these too."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class DropLeases:
    """Serve these no more; the answer comes once nothing of them is in flight."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndServer:
    """Drop all leases and end."""


@dataclass(frozen=True, slots=True)
class ServedLease(Lease):
    """A lease that is served and how many connections use it."""

    clients: int

    def lease(self) -> Lease:
        """Give the lease alone."""
        return Lease(*(getattr(self, member.name) for member in fields(Lease)))


# -- on the wire ----------------------------------------------------------------------------------

GroupOrder = (
    TellState | TakeDown | TakeSnapshot | RemoveSnapshot | StartRebuild | StopRebuild | VerifyBlocks
)
DataServerOrder = TellLeases | TellFigures | ServeLeases | DropLeases | EndServer
Order = GroupOrder | DataServerOrder

VERB = "do"
KINDS: dict[str, type[Order]] = {
    "state": TellState,
    "detach": TakeDown,
    "snapshot": TakeSnapshot,
    "unsnapshot": RemoveSnapshot,
    "rebuild": StartRebuild,
    "cancel": StopRebuild,
    "verify": VerifyBlocks,
    "leases": TellLeases,
    "figures": TellFigures,
    "export": ServeLeases,
    "drop": DropLeases,
    "stop": EndServer,
}
VERBS = {kind: verb for verb, kind in KINDS.items()}


def pack_order(order: Order) -> dict[str, Any]:
    """Make what goes over the control socket."""
    return {VERB: VERBS[type(order)], **to_struct(order)}


def unpack_order(struct: object) -> Order:
    """Read what came over the control socket; EngineError if it is no order."""
    verb = struct.get(VERB) if isinstance(struct, dict) else None
    if not isinstance(verb, str) or verb not in KINDS:
        raise EngineError(errno.EINVAL, f"no such order: {verb!r}")
    try:
        return from_struct(KINDS[verb], struct)
    except Malformed as error:
        raise EngineError(errno.EINVAL, str(error)) from None


def value_reply(value: object) -> dict[str, Any]:
    """Answer with a value: a dataclass, several of them, or a plain one."""
    return {"value": to_struct(value)}


def error_reply(error: AgentError) -> dict[str, Any]:
    """Answer that it could not be done."""
    return {"errno": error.errno, "message": str(error)}


def unpack_reply(kind: type[T], struct: object) -> T:
    """Read an answer's value; raises the EngineError that it tells of."""
    if isinstance(struct, dict) and "errno" in struct:
        raise EngineError(int(struct["errno"]), str(struct.get("message", "")))
    try:
        return from_struct(kind, struct["value"] if isinstance(struct, dict) else None)
    except (Malformed, KeyError) as error:
        raise EngineError(errno.EPROTO, f"an answer that cannot be read: {error}") from None
