"""What manager and agents say to each other: orders and reports as frozen dataclasses.

On the wire each is one XML-RPC struct with `ver`. Sizes are whole GB or MiB, so that every number
fits the 31 bits of XML-RPC. An order carries `eventid` (the manager's job), `order` (a new try of
the same job is a new order), `incarnation` (of the manager's database) and, where a volume is
concerned, the group's `lvolid` and `epoch`. Agents answer a repeat from their journal and refuse
what is older than what they know.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from agents.struct_codec import WIRE

VERSION = 5

NODE = "node_uuid"
"""The member that names the node for which a call is meant; the manager sends it to nodes that told
it who they are, and another node refuses the call with EREMCHG."""


class Target(IntEnum):
    """What failed, as notifyFailure counts; an event's target too. A replica goes by its extent."""

    HEAD = 1
    STORAGE = 2
    DISK = 3
    REPLICA = 4


class Progress(StrEnum):
    """How far an order got on a node."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a replica is out of sync; of a mirror's last good one: why its head does not reach it."""

    NONE = ""
    CONNECTION = "connection"
    IO = "io"
    STALE = "stale"
    ASKED = "asked"
    SILENT = "silent"
    RESTARTED = "restarted"
    FAILED = "failed"
    DISK = "disk"

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        """Take what only a newer node knows for an I/O error: the replica is replaced."""
        return cls.IO if isinstance(value, str) else None


MEANINGS = {
    Reason.NONE: "nothing is wrong",
    Reason.CONNECTION: "its head lost the connection to it",
    Reason.IO: "it answered its head with an I/O error",
    Reason.STALE: "it lacks writes that the newest replicas have",
    Reason.ASKED: "another replica takes its place",
    Reason.SILENT: "its server or disk does not answer",
    Reason.RESTARTED: "its server was started anew",
    Reason.FAILED: "it, its disk or its server was declared failed",
    Reason.DISK: "its disk failed",
}
LOST = frozenset({Reason.FAILED, Reason.IO, Reason.DISK})
"""Reasons that say that the replica is lost: no grace, and it is never trusted again."""
GONE = "gone"
"""What notifyFailure says of a disk that is not where it was: it may have been pulled out, to be
put in elsewhere. No Reason, for no replica keeps it: those on the disk count as silent."""


class ReplicaState(StrEnum):
    """A replica as the head's engine sees it."""

    INSYNC = "insync"
    SPARE = "spare"
    FAULTY = "faulty"


# -- to a storage agent ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExtentRef:
    """An extent, identified so that it cannot be mistaken: disk label, place and generation."""

    dextid: int
    generation: int
    disk: str
    offset_gb: int
    size_gb: int


@dataclass(frozen=True, slots=True)
class VolumeAbout:
    """What a disk is to tell of a volume; `origin` and a `store_gb` of its own: of a snapshot."""

    lvolid: int
    name: str
    origin: int
    capacity_gb: int
    store_gb: int
    redundancy: int
    created: int


@dataclass(frozen=True, slots=True)
class ReplicaAbout:
    """Which part of which volume an extent holds: of the mirror that begins at `offset_gb`.

    `fresh`: no head has used it yet; a mark in its space is another one's.
    """

    dextid: int
    lvolid: int
    mirrorid: int
    offset_gb: int
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class About:
    """What the extents of an order hold, for their disks to tell; an older manager says nothing."""

    volumes: tuple[VolumeAbout, ...] = ()
    replicas: tuple[ReplicaAbout, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Evict every older epoch of the group, then export these extents for this epoch."""

    eventid: int
    incarnation: int
    lvolid: int
    epoch: int
    secret: str
    extents: tuple[ExtentRef, ...]
    about: About = About()


@dataclass(frozen=True, slots=True)
class ReplicaMark:
    """The mirror metadata found on one replica; all zero where no head ever wrote one.

    `events` rises each time a replica is left behind; `clean`: the last head closed it cleanly.
    """

    dextid: int
    epoch: int
    events: int
    clean: bool


@dataclass(frozen=True, slots=True)
class ExportReply:
    """What is exported now. `refused` maps the dextid, as text, to the reason.

    `occupied`: of these, whose space is not clean: something else lies there, or may.
    """

    port: int
    marks: tuple[ReplicaMark, ...]
    refused: dict[str, str]
    occupied: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EvictOrder:
    """Drop the group's exports up to this epoch (of `dextids` only, if any are named) for good."""

    eventid: int
    incarnation: int
    lvolid: int
    epoch: int
    dextids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ShredOrder:
    """Zero an extent that nobody uses any more; exports that overlap it are dropped first.

    Where a replica of another extent lies there, only with `over`: that one is over, too.
    """

    eventid: int
    order: int
    incarnation: int
    extent: ExtentRef
    over: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaSource:
    """Where a good replica is exported."""

    addresses: tuple[str, ...]
    port: int
    export: str


@dataclass(frozen=True, slots=True)
class PullOrder:
    """Copy a good replica of a detached volume's mirror into a local extent."""

    eventid: int
    order: int
    incarnation: int
    lvolid: int
    epoch: int
    source: ReplicaSource
    target: ExtentRef
    about: About = About()


@dataclass(frozen=True, slots=True)
class ChecksumQuestion:
    """What are the digests of `count` chunks of 1 MiB of an extent, or of all blocks in them?

    The agent tells as many as it can read in a few seconds at its rate, at least one.
    """

    incarnation: int
    extent: ExtentRef
    offset_mib: int
    count: int
    fine: bool = False


@dataclass(frozen=True, slots=True)
class ChecksumReply:
    """Digests as agents.checksums makes them; `chunks` counts what they cover."""

    chunks: int
    digests: tuple[str, ...]
    mark: ReplicaMark


@dataclass(frozen=True, slots=True)
class MendOrder:
    """Make blocks of a detached volume's replica like those of `source`, if these are `expected`.

    The blocks are `count` of those in the MiB at `offset_mib`, from `first` on.
    """

    eventid: int
    incarnation: int
    lvolid: int
    epoch: int
    source: ReplicaSource
    target: ExtentRef
    offset_mib: int
    first: int
    count: int
    expected: str


# -- to a head agent ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """One replica as the head is to use it."""

    dextid: int
    addresses: tuple[str, ...]
    port: int
    export: str
    state: ReplicaState


@dataclass(frozen=True, slots=True)
class MirrorSpec:
    """One mirror. `dirty`: replicas may differ in unfinished writes; they become equal in use."""

    mirrorid: int
    size_gb: int
    events: int
    dirty: bool = field(metadata={WIRE: "doubt"})
    replicas: tuple[ReplicaSpec, ...] = field(metadata={WIRE: "legs"})


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device: the origin, or a snapshot (whose mirrors are its copy-on-write store).

    `created`, in seconds since 1970, tells two volumes of one number apart; 0 of an older manager.
    """

    lvolid: int
    labels: tuple[str, ...]
    capacity_gb: int
    mirrors: tuple[MirrorSpec, ...]
    created: int = 0


@dataclass(frozen=True, slots=True)
class AttachOrder:
    """Assemble a group: the origin first, then its snapshots, oldest first."""

    eventid: int
    order: int
    incarnation: int
    lvolid: int
    epoch: int
    devices: tuple[DeviceSpec, ...]


@dataclass(frozen=True, slots=True)
class DetachOrder:
    """Take a group down. Fails with EBUSY while a client has a device open.

    With `force`, for a group whose epoch is over: clients are cut off, nothing is closed cleanly.
    An agent that does not know the word takes it for a plain order.
    """

    eventid: int
    order: int
    incarnation: int
    lvolid: int
    epoch: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotOrder:
    """Freeze the origin's present content as a new read-only device of an attached group."""

    eventid: int
    order: int
    incarnation: int
    lvolid: int
    epoch: int
    device: DeviceSpec


@dataclass(frozen=True, slots=True)
class UnsnapshotOrder:
    """Take one snapshot device away from an attached group; EBUSY while it is open."""

    eventid: int
    order: int
    incarnation: int
    lvolid: int
    epoch: int
    snapshot: int


@dataclass(frozen=True, slots=True)
class RebuildOrder:
    """Bring `replica` into sync in an attached mirror.

    `replaces` names the replica that it takes the place of once it is in sync (0: none; one that is
    still good goes on serving until then). The same dextid as a faulty replica means: it came back;
    copy what it missed if the head still knows, else all.
    """

    eventid: int
    order: int
    incarnation: int
    lvolid: int
    epoch: int
    mirrorid: int
    replica: ReplicaSpec = field(metadata={WIRE: "leg"})
    replaces: int


@dataclass(frozen=True, slots=True)
class RelocateOrder:
    """Tell a group whose process is dead where its replicas are now: their servers may have moved.

    One that runs is told by a RebuildOrder for the replica that it does not reach.
    """

    incarnation: int
    lvolid: int
    epoch: int
    replicas: tuple[ReplicaSpec, ...]


@dataclass(frozen=True, slots=True)
class VerifyOrder:
    """Compare blocks of a mirror's replicas while no write to them is in flight.

    With a `source`, whose blocks have to be `expected` still, the others are made like it first.
    """

    eventid: int
    incarnation: int
    lvolid: int
    epoch: int
    mirrorid: int
    offset_mib: int
    first: int
    count: int
    source: int = 0
    expected: str = ""


LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class PathQuestion:
    """Measure from now on how far these addresses are, each by the port where data is.

    A head goes on for a few minutes after it was asked last. Older ones know one port for all.
    """

    addresses: tuple[str, ...]
    port: int
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PathReply:
    """How far each address is, in the order of the question, as measured `age` seconds ago.

    In microseconds until it answered; NO_ANSWER, or NOT_MEASURED yet.
    """

    micros: tuple[int, ...]
    age: int


NO_ANSWER, NOT_MEASURED = -1, -2
MOST_PATHS = 1024
"""Addresses in one question: two of each server of a large cluster."""


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """Tell the ends of the node's logs, so many bytes of each at most."""

    most_bytes: int


@dataclass(frozen=True, slots=True)
class LogText:
    """The end of one log, or why it cannot be read; secrets are masked."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class LogReply:
    """The logs of a node: of its agent, its engine, and its kernel's lines about errors."""

    logs: tuple[LogText, ...]


MOST_LOG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Stop a running rebuild, pull or shred; a rebuild's replica is left faulty."""

    eventid: int
    order: int
    incarnation: int


# -- from agents ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one order; `replicas` tells their state after attach, detach, rebuild."""

    eventid: int
    order: int
    progress: Progress
    done_mib: int = 0
    total_mib: int = 0
    errno: int = 0
    message: str = ""
    replicas: tuple["ReplicaReport", ...] = field(default=(), metadata={WIRE: "copies"})


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One replica on the head; its `reason` is none of those that only the manager gives."""

    dextid: int
    mirrorid: int
    state: ReplicaState
    events: int
    reason: Reason = field(default=Reason.NONE, metadata={WIRE: "why"})
    done_mib: int = 0
    total_mib: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaDigests:
    """The digests of adjacent blocks of one replica."""

    dextid: int
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyReply:
    """What the blocks are on each replica that the head has in sync."""

    replicas: tuple[ReplicaDigests, ...]


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One device on a head; `clients` counts who has it open.

    `broken`: a snapshot whose store failed; it reads as EIO and can only be deleted. `waiting`: for
    how many seconds no good replica of some part of it could be reached.
    """

    lvolid: int
    clients: int
    cow_mib: int = 0
    broken: bool = False
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group that a head runs, or whose process it found dead (`alive` is false).

    In a head's state `replicas` are those of mirrors whose replicas are not all simply in sync.
    """

    lvolid: int
    epoch: int
    alive: bool
    devices: tuple[DeviceState, ...]
    replicas: tuple[ReplicaReport, ...] = field(metadata={WIRE: "copies"})


@dataclass(frozen=True, slots=True)
class HighestSeen:
    """The highest numbers that a node was ever told of; 0 where it was told of none."""

    event: int = 0
    group: int = 0
    extent: int = 0


@dataclass(frozen=True, slots=True)
class HeadState:
    """All that a head runs, as it was `age` seconds ago: a group that hangs delays the news.

    Older agents have no `node_uuid`.
    """

    hsvrid: int
    boot_id: str
    cluster: str
    incarnation: int
    groups: tuple[GroupState, ...]
    age: int = 0
    seen: HighestSeen = HighestSeen()
    node_uuid: str = ""


@dataclass(frozen=True, slots=True)
class ExportState:
    """One live export; `dextid` and `epoch` as ordered. Older agents do not tell the disk.

    `described`: its disk tells what it is. Where an older agent's export lives on, it does not.
    """

    dextid: int
    lvolid: int
    epoch: int
    clients: int
    disk: str = ""
    described: bool = True


@dataclass(frozen=True, slots=True)
class SmartFigures:
    """What a disk says of itself; -1 is unknown. `passed` is 0 of one that is about to fail.

    `wear` is in percent of the life that it was made for, `temperature` in degrees Celsius.
    """

    passed: int = -1
    temperature: int = -1
    reallocated: int = -1
    pending: int = -1
    wear: int = -1


@dataclass(frozen=True, slots=True)
class DiskState:
    """One disk of a storage server. `error` is empty while it can be read.

    `generation` is as new as all that was ever ordered on it, once space is zeroed the next one.
    `gone`: it is not there any more; it may have been pulled out, to turn up elsewhere.
    `smart` comes where smartctl is there, from agents since 5.1.
    """

    disk: str
    local_path: str
    pdskid: int
    capacity_gb: int
    error: str = ""
    generation: int = 0
    gone: bool = False
    smart: SmartFigures = SmartFigures()


@dataclass(frozen=True, slots=True)
class RefusedDisk:
    """A disk that a storage server does not use, and why: a sentence.

    `disk` is its name, where it bears a label of this cluster.
    """

    local_path: str
    reason: str
    disk: str = ""


@dataclass(frozen=True, slots=True)
class StorageState:
    """All that a storage server has and serves right now. Older agents have no `node_uuid`."""

    ssvrid: int
    boot_id: str
    cluster: str
    incarnation: int
    port: int
    disks: tuple[DiskState, ...]
    exports: tuple[ExportState, ...]
    seen: HighestSeen = HighestSeen()
    refused: tuple[RefusedDisk, ...] = ()
    node_uuid: str = ""


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What was asked of a head's volumes, or of a storage server's disks: a line each.

    `agents.io_figures` writes and reads lines. A struct for each would cost the manager a second
    of CPU a minute where 20,000 volumes are attached. `shown`, of a head: in which `folder` its
    users find devices, and a line for each.
    """

    lines: tuple[str, ...]
    folder: str = ""
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskQuestion:
    """Ask what lies on a disk, from this GB on."""

    disk: str
    first_gb: int = 0


@dataclass(frozen=True, slots=True)
class FoundReplica:
    """One replica as its disk tells it. `live`: its space was not shredded or used anew since.

    Where a head wrote a mark and nobody a descriptor, as older agents did, all but the mark is 0.
    """

    at_gb: int
    live: bool
    mark: ReplicaMark
    generation: int = 0
    size_gb: int = 0
    mirrorid: int = 0
    offset_gb: int = 0
    volume: VolumeAbout = VolumeAbout(0, "", 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class DiskContent:
    """A page of what lies on a disk; `next_gb` begins the next one, 0 at the end."""

    replicas: tuple[FoundReplica, ...]
    next_gb: int = 0


@dataclass(frozen=True, slots=True)
class FenceQuestion:
    """Ask for the lowest epochs allowed, of groups with a higher number than this."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class GroupFence:
    """The lowest epoch that a node allows of a group."""

    lvolid: int
    epoch: int


@dataclass(frozen=True, slots=True)
class GroupFences:
    """A page of them, by number; the last one is where nothing is in it."""

    fences: tuple[GroupFence, ...]


def export_name(dextid: int, epoch: int, secret: str) -> str:
    """Name an export: nobody without the epoch's secret can ask for it."""
    return f"{dextid}.{epoch}-{secret}"
