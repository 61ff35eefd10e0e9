"""What the API's methods answer; docs/api.md has the meaning of each member.

A manager of another release may send more members, or lack those that came later.
"""

from typing import Any, NotRequired, TypedDict


class Association(TypedDict):
    """The other end of a snapshot: its origin, or a snapshot of an origin."""

    lvolid: int
    type: str


class Volume(TypedDict):
    """An element of listLogicalVolumes."""

    lvolid: int
    lvolname: str
    redundancy: int
    capacity: int
    hsvrid: int
    bind_status: int
    bind_event: int
    fault: bool
    ctime: str
    associated_to: list[Association]
    associated_from: list[Association]


class Node(TypedDict):
    """A node of showLogicalVolume's tree; what lvolspec has depends on lvoltype."""

    lvolid: int
    lvoltype: int
    capacity: int
    mirror_status: int
    lvolspec: dict[str, Any]
    labels: list[str]
    components: list["Node"]


class Head(TypedDict):
    """An element of listHeadServers."""

    hsvrid: int
    priority: int
    resync: int
    ip_data: list[str]


class Storage(TypedDict):
    """An element of listStorageServers."""

    ssvrid: int
    priority: int
    resync: int
    capacity: int
    available: int
    ip_data: list[str]


class Disk(TypedDict):
    """An element of listPhysicalDisks."""

    pdskid: int
    ssvrid: int
    priority: int
    resync: int
    capacity: int
    available: int
    local_path: str
    iscsi_path: list[str]


class Event(TypedDict):
    """An element of listEvents."""

    eventid: int
    target: int
    targetid: int
    event: int
    event_status: int


class EventEntry(TypedDict):
    """Something that happened; `id` and `audit` are texts, for they may have more than 31 bits."""

    id: str
    time: str
    severity: str
    kind: str
    object: str
    objectid: int
    name: str
    cause: str
    eventid: int
    actor: str
    audit: str


class EventPage(TypedDict):
    """What vastsky.listEvents answers; with an empty cursor nothing is left."""

    events: list[EventEntry]
    cursor: str


class Sample(TypedDict):
    """What was asked a second in the minutes that begin at `time`; 0.0 ms: none was timed."""

    time: str
    reads: float
    writes: float
    read_bytes: float
    write_bytes: float
    read_ms: float
    write_ms: float
    queue: float


class ReplicaStatus(TypedDict):
    """An element of notifyRebuildMirrorFinished's dexts."""

    dextid: int
    dext_status: int


class VersionCount(TypedDict):
    """How many agents are of a release."""

    version: str
    count: int


class ClusterInfo(TypedDict):
    """What vastsky.clusterInfo answers."""

    cluster: str
    incarnation: int
    recovery: str
    reasons: list[str]
    tells_nodes_apart: bool
    version: str
    backed_up: str
    agents: list[VersionCount]


class NodeName(TypedDict, total=False):
    """An element of vastsky.listNodes: hsvrid or ssvrid, never both; `id` of a page has either."""

    id: str
    hsvrid: int
    ssvrid: int
    name: str
    host_name: str
    version: str


class Job(TypedDict):
    """An element of vastsky.listJobs, and what vastsky.showJob answers."""

    eventid: int
    kind: str
    state: str
    subject: str
    step: str
    waiting: str
    done_mib: int
    total_mib: int
    errno: int
    error: str
    ssvrid: int
    pdskid: int
    paused: bool
    until: str
    actor: str


class Orphan(TypedDict):
    """An element of vastsky.listOrphans."""

    id: int
    kind: str
    ssvrid: int
    hsvrid: int
    disk: str
    dextid: int
    lvolid: int
    epoch: int
    clients: int
    name: str
    reason: str


class Waiting(TypedDict):
    """An element of vastsky.listWaiting."""

    lvolid: int
    lvolname: str
    seconds: int


class Content(TypedDict):
    """What one replica has where replicas differ."""

    dextid: int
    ssvrid: int
    digest: str


class UnequalBlock(TypedDict):
    """An element of vastsky.listUnequalBlocks."""

    blockid: int
    eventid: int
    lvolid: int
    lvolname: str
    mirrorid: int
    offset: str
    length: int
    source: int
    contents: list[Content]


class EvacuationPlan(TypedDict):
    """What vastsky.planEvacuation answers."""

    copies: int
    gb: int
    stuck: int
    reason: str


class NamedVolume(TypedDict):
    """A volume by id and name."""

    lvolid: int
    lvolname: str


class FailurePlan(TypedDict):
    """What vastsky.planFailure answers."""

    copies: int
    gb: int
    stuck: int
    reason: str
    lost: list[NamedVolume]
    cut_off: list[NamedVolume]


class PlannedReplica(TypedDict):
    """Where a replica would lie."""

    ssvrid: int
    pdskid: int


class PlannedMirror(TypedDict):
    """A mirror of a volume that might be created."""

    capacity: int
    replicas: list[PlannedReplica]


class VolumePlan(TypedDict):
    """What vastsky.planVolume answers."""

    mirrors: list[PlannedMirror]


class Domain(TypedDict):
    """The room of a failure domain."""

    site: str
    rack: str
    servers: int
    disks: int
    capacity: int
    available: int


class Capacity(TypedDict):
    """What vastsky.capacity answers."""

    capacity: int
    available: int
    largest: int
    domains: list[Domain]
    recovery: NotRequired[str]


class Token(TypedDict):
    """An element of vastsky.listTokens."""

    name: str
    role: str
    hsvrid: int
    ssvrid: int
    created: str
    created_by: str
    last_used: str
    revoked: str


class Webhook(TypedDict):
    """An element of vastsky.listWebhooks."""

    name: str
    url: str
    severity: str
    kinds: list[str]
    cursor: str
    sent: str
    failures: int
    failing_since: str
    error: str
