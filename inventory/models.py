"""The hardware: servers, their addresses, disks, and the extents that tile each disk.

What is called `since` is a moment of the cluster's clock, as is what work is compared with; all
other moments are the wall clock's, for people (docs/adr/0011-time.md).
"""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Priority(models.IntegerChoices):
    """How far a server or a disk may be trusted with new data; the numbers are the wire's."""

    HIGH = 1
    LOW = 2
    EVACUATE = 3
    OFFLINE = 4
    FAULTY = 5
    HALT = 6


USABLE = (Priority.HIGH, Priority.LOW)
"""May receive new extents."""

ALIVE = (Priority.HIGH, Priority.LOW, Priority.EVACUATE)
"""Answers and serves what it holds."""


class IdSpace(models.Model):
    """The next unused number of one id space; numbers are never used twice."""

    name = models.CharField(max_length=8, primary_key=True)
    next_id = models.BigIntegerField(default=1)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(next_id__gte=1) & Q(next_id__lte=0x80000000), name="idspace_31_bits"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} from {self.next_id}"


class IdGap(models.Model):
    """Numbers that this database skipped: another life of it may have given them out."""

    space = models.ForeignKey(IdSpace, models.PROTECT, related_name="gaps")
    first = models.BigIntegerField()
    beyond = models.BigIntegerField(help_text="the first number after them")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(beyond__gt=F("first")), name="gap_has_numbers")
        ]

    def __str__(self) -> str:
        return f"{self.space_id} {self.first} to {self.beyond - 1}"


class Cluster(models.Model):
    """This cluster's identity, one row: agents refuse the orders of another or an older one."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    uuid = models.UUIDField()
    incarnation = models.IntegerField(default=1)
    scrubs_paused = models.BooleanField(
        default=False, help_text="no replicas are compared until somebody says so"
    )
    recovery = models.CharField(
        max_length=500, blank=True, help_text="why the cluster is in recovery mode, if it is"
    )
    recovery_since = models.DateTimeField(null=True, blank=True)
    backed_up = models.DateTimeField(
        default=timezone.now, help_text="when the last backup was written; at first: the beginning"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="cluster_is_one_row")
        ]

    def __str__(self) -> str:
        return f"cluster {self.uuid} incarnation {self.incarnation}"


class RecoveryReason(models.Model):
    """One thing that shows that a node knows more than this database; gone with recovery mode."""

    text = models.CharField(max_length=500, unique=True)
    since = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.text


class Clock(models.Model):
    """The cluster's own time, one row; `beat` is raised whenever it moves (see inventory.clock)."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    at = models.DateTimeField()
    beat = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="clock_is_one_row")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S}"


class Watch(models.Model):
    """Which worker looks after the nodes, one row; it raises `beat` for as long as it lives."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    holder = models.CharField(max_length=16, blank=True)
    beat = models.BigIntegerField(default=0)
    asked = models.DateTimeField(
        null=True, help_text="until when nodes were asked how they are, by the cluster's clock"
    )
    numbers = models.IntegerField(
        null=True,
        help_text="the next number of volumes and extents when nodes were asked last and knew of"
        " none beyond; an older copy of the database may give out others a second time",
    )
    broker = models.CharField(
        max_length=200, blank=True, help_text="why the broker does not answer, if it does not"
    )
    broker_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(id=1), name="watch_is_one_row")]

    def __str__(self) -> str:
        return f"{self.holder or 'nobody'}, beat {self.beat}"


class Worker(models.Model):
    """A worker that takes steps; it raises `beat` as it ticks, and its row goes with it."""

    token = models.CharField(primary_key=True, max_length=16)
    host = models.CharField(max_length=64)
    version = models.CharField(max_length=64)
    beat = models.BigIntegerField(default=0)
    since = models.DateTimeField(help_text="when it began, by the cluster's clock")
    at = models.DateTimeField(help_text="its last tick, by the cluster's clock")

    def __str__(self) -> str:
        return f"worker on {self.host}, beat {self.beat}"


class Server(models.Model):
    """What head and storage servers have in common."""

    id = models.IntegerField(primary_key=True)
    node_uuid = models.CharField(
        max_length=64, blank=True, help_text="who the node is, whatever its addresses; older: empty"
    )
    name = models.CharField(
        max_length=64, blank=True, help_text="what people call it; at first its host name"
    )
    host_name = models.CharField(max_length=64, blank=True, help_text="what the node calls itself")
    version = models.CharField(
        max_length=64, blank=True, help_text="release of its agent; older than 5.1: empty"
    )
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.HIGH)
    site = models.CharField(max_length=64, blank=True, help_text="failure domain, widest")
    rack = models.CharField(max_length=64, blank=True, help_text="failure domain within the site")
    boot_id = models.CharField(
        max_length=128, blank=True, help_text="changes when what the node ran is gone"
    )
    started = models.CharField(
        max_length=128, blank=True, help_text="changes whenever its agent is started anew"
    )
    halted = models.BooleanField(
        default=False, help_text="shut down: back only when it is started anew, or a person says so"
    )
    last_answer = models.DateTimeField(null=True, blank=True)
    silent_since = models.DateTimeField(
        null=True, blank=True, help_text="first unanswered question since the last answer"
    )
    priority_since = models.DateTimeField(default=timezone.now)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True

    @property
    def label(self) -> str:
        """Name it for people: by its name, where it has one, and its id."""
        return f"{self.name} ({self})" if self.name else str(self)


class HeadServer(Server):
    """A server that uses volumes as block devices."""

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id__gte=1), name="head_id_positive"),
            models.CheckConstraint(
                condition=Q(priority__in=Priority.values), name="head_priority_known"
            ),
            models.UniqueConstraint("node_uuid", condition=~Q(node_uuid=""), name="head_one_node"),
            models.UniqueConstraint("name", condition=~Q(name=""), name="head_one_name"),
        ]

    def __str__(self) -> str:
        return f"hsvr-{self.pk:08x}"


class StorageServer(Server):
    """A server whose disks hold extents."""

    iscsi_port = models.PositiveIntegerField(
        null=True, blank=True, help_text="where its kernel exports extents; none: it does not"
    )
    data_port = models.PositiveIntegerField(
        null=True, blank=True, help_text="where its data server does; none: it never said"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(iscsi_port__isnull=True) | Q(iscsi_port__range=(1, 65535)),
                name="storage_iscsi_port",
            ),
            models.CheckConstraint(
                condition=Q(data_port__isnull=True) | Q(data_port__range=(1, 65535)),
                name="storage_data_port",
            ),
            models.CheckConstraint(condition=Q(id__gte=1), name="storage_id_positive"),
            models.CheckConstraint(
                condition=Q(priority__in=Priority.values), name="storage_priority_known"
            ),
            models.UniqueConstraint(
                "node_uuid", condition=~Q(node_uuid=""), name="storage_one_node"
            ),
            models.UniqueConstraint("name", condition=~Q(name=""), name="storage_one_name"),
        ]

    def __str__(self) -> str:
        return f"ssvr-{self.pk:08x}"


class Address(models.Model):
    """One data-network address of a server; an address is unique among servers of its kind.

    A machine may be a head and a storage server at once, hence one uniqueness per kind.
    """

    address = models.GenericIPAddressField(protocol="IPv4")
    position = models.PositiveSmallIntegerField(help_text="0 and 1: the two networks")
    head = models.ForeignKey(
        HeadServer,
        models.CASCADE,
        related_name="addresses",
        null=True,
        blank=True,
        db_index=False,
    )
    storage = models.ForeignKey(
        StorageServer,
        models.CASCADE,
        related_name="addresses",
        null=True,
        blank=True,
        db_index=False,
    )
    silent_since = models.DateTimeField(
        null=True, blank=True, help_text="first unanswered question since the last answer here"
    )
    silence = models.CharField(
        max_length=200, blank=True, help_text="what came instead of an answer, at the last question"
    )

    class Meta:
        verbose_name_plural = "addresses"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(head__isnull=True) ^ Q(storage__isnull=True),
                name="address_has_one_owner",
            ),
            models.CheckConstraint(condition=Q(position__lte=1), name="address_position_0_1"),
            models.UniqueConstraint("address", condition=Q(storage=None), name="address_one_head"),
            models.UniqueConstraint("address", condition=Q(head=None), name="address_one_storage"),
            models.UniqueConstraint("head", "position", name="address_head_position"),
            models.UniqueConstraint("storage", "position", name="address_storage_position"),
        ]

    def __str__(self) -> str:
        return self.address


class PathTrouble(models.Model):
    """Why paths from heads to storage servers are not well, or were not lately (volumes.paths).

    By cause: one row stands for all paths of one network, of a head or a storage server by one
    network, for several that have nothing in common, or for a single one.
    """

    class Scope(models.TextChoices):
        NETWORK = "network", "a network"
        HEAD = "head", "a head's way to one network"
        STORAGE = "storage", "a storage server's way to one network"
        SEVERAL = "several", "several paths"
        PATH = "path", "one path"

    class Level(models.IntegerChoices):
        OK = 0, "ok"
        SLOW = 1, "slow"
        DOWN = 2, "down"

    key = models.CharField(primary_key=True, max_length=80)
    scope = models.CharField(max_length=8, choices=Scope)
    position = models.PositiveSmallIntegerField(help_text="0 and 1: the two networks")
    head = models.ForeignKey(HeadServer, models.CASCADE, related_name="+", null=True, blank=True)
    storage = models.ForeignKey(
        StorageServer, models.CASCADE, related_name="+", null=True, blank=True
    )
    level = models.PositiveSmallIntegerField(
        choices=Level, default=Level.OK, help_text="as it was told"
    )
    since = models.DateTimeField(null=True, help_text="since when it is so; null: never told")
    worse_since = models.DateTimeField(null=True, help_text="measured worse than told since")
    better_since = models.DateTimeField(null=True, help_text="measured no worse than told since")
    relapses = models.PositiveSmallIntegerField(
        default=0, help_text="how often it came back; it has to be well for longer each time"
    )
    known = models.BooleanField(default=True, help_text="whether anybody measures it now")
    paths = models.PositiveIntegerField(default=0, help_text="how many are not well now")
    cut_off = models.BooleanField(
        default=False, help_text="some of them are down by the other network as well"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(scope__in=["network", "head", "storage", "several", "path"]),
                name="path_trouble_scope_known",
            ),
            models.CheckConstraint(
                condition=Q(level__in=[0, 1, 2]), name="path_trouble_level_known"
            ),
            models.CheckConstraint(condition=Q(position__lte=1), name="path_trouble_position_0_1"),
        ]

    def __str__(self) -> str:
        return self.key


class RefusedNode(models.Model):
    """A node that may not register, and why: for an operator, for it goes on trying."""

    class Kind(models.TextChoices):
        HEAD = "head", "head"
        STORAGE = "storage", "storage"

    kind = models.CharField(max_length=8, choices=Kind)
    node_uuid = models.CharField(max_length=64)
    addresses = models.CharField(max_length=40)
    reason = models.CharField(max_length=500)
    since = models.DateTimeField()
    last = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                "kind", "node_uuid", "addresses", name="refused_node_once_per_place"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["head", "storage"]), name="refused_node_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} server at {self.addresses}"


class Disk(models.Model):
    """A physical disk, known by the UUID in its label, or by its path where it has none."""

    id = models.IntegerField(primary_key=True)
    server = models.ForeignKey(StorageServer, models.PROTECT, related_name="disks")
    disk_uuid = models.CharField(max_length=64, blank=True)
    local_path = models.CharField(max_length=1024)
    capacity_gb = models.BigIntegerField(help_text="whole GB (2**30 bytes), SUPER included")
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.HIGH)
    priority_since = models.DateTimeField(default=timezone.now)
    tags = models.CharField(max_length=256, blank=True, help_text="words: ssd, hdd, ...")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id__gte=1), name="disk_id_positive"),
            models.CheckConstraint(condition=Q(capacity_gb__gte=0), name="disk_capacity"),
            models.CheckConstraint(
                condition=Q(priority__in=Priority.values), name="disk_priority_known"
            ),
            models.UniqueConstraint("disk_uuid", condition=~Q(disk_uuid=""), name="disk_one_uuid"),
            models.UniqueConstraint("local_path", condition=Q(disk_uuid=""), name="disk_one_path"),
        ]

    def __str__(self) -> str:
        return f"pdsk-{self.pk:08x}"

    @property
    def label(self) -> str:
        """Name it for people: by its server and the end of its path, and its id."""
        if not self.server_id:  # one that is known by its number alone
            return str(self)
        return f"{self.server.name or self.server}:{self.local_path[-70:]} ({self})"


class RefusedDisk(models.Model):
    """A disk that a storage server has and does not use, as the server tells it, and why."""

    server = models.ForeignKey(
        StorageServer, models.CASCADE, related_name="refused_disks", db_index=False
    )
    local_path = models.CharField(max_length=1024)
    disk_uuid = models.CharField(max_length=64, blank=True, help_text="what its label calls it")
    reason = models.CharField(max_length=500)
    is_second = models.BooleanField(
        default=False, help_text="the disk of that label was in use elsewhere meanwhile"
    )
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("server", "local_path", name="refused_disk_told_once"),
        ]

    def __str__(self) -> str:
        return f"{self.local_path} of ssvr-{self.server_id:08x}"


class DiskHealth(models.Model):
    """What a disk says of itself by SMART, as its server told it last; what is unknown is null."""

    disk = models.OneToOneField(Disk, models.CASCADE, primary_key=True, related_name="health")
    passed = models.BooleanField(null=True, help_text="false: it says that it is about to fail")
    temperature = models.IntegerField(null=True, help_text="degrees Celsius")
    reallocated = models.IntegerField(null=True, help_text="sectors replaced by spare ones")
    pending = models.IntegerField(null=True, help_text="sectors that could not be read")
    wear = models.IntegerField(null=True, help_text="percent of the life that it was made for")
    at = models.DateTimeField(default=timezone.now, help_text="when something of it changed")

    def __str__(self) -> str:
        return f"SMART of pdsk-{self.disk_id:08x}"


NEITHER_USED_NOR_FREE = 3
"""From this status on, an extent has bad blocks, is to be shredded, or holds a label."""


class Extent(models.Model):
    """A whole-GB range of a disk. Every GB of a disk belongs to exactly one extent.

    Overlap is impossible by an exclusion constraint (PostgreSQL) or triggers (SQLite); gaps are
    kept away by inventory.space and found by fsck.
    """

    class Status(models.IntegerChoices):
        """The wire's numbers. OFFLINE must be shredded before use; SUPER holds the label."""

        BUSY = 1
        FREE = 2
        EVACUATE = 3
        OFFLINE = 4
        SUPER = 5
        FAULTY = 6

    id = models.IntegerField(primary_key=True, help_text="the dextid: same id space as volumes")
    disk = models.ForeignKey(Disk, models.PROTECT, related_name="extents", db_index=False)
    offset_gb = models.BigIntegerField()
    size_gb = models.BigIntegerField()
    status = models.PositiveSmallIntegerField(choices=Status)
    generation = models.IntegerField(default=0, help_text="raised at every allocation")
    zeroed_generation = models.IntegerField(
        default=-1, help_text="the generation after which the space was certified zero"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id__gte=1), name="extent_id_positive"),
            models.CheckConstraint(
                condition=Q(size_gb__gte=1) & Q(offset_gb__gte=0), name="extent_has_size"
            ),
            models.CheckConstraint(condition=Q(status__in=range(1, 7)), name="extent_status_known"),
            models.CheckConstraint(
                condition=~Q(status=2) | Q(zeroed_generation=F("generation")),
                name="extent_free_is_zeroed",
            ),
            models.UniqueConstraint("disk", "offset_gb", name="extent_one_per_offset"),
        ]
        indexes: ClassVar = [
            models.Index("disk", condition=Q(status=2), name="extent_free"),
            models.Index("disk", condition=Q(status=4), name="extent_to_shred"),
            models.Index(
                "status",
                "disk",
                "size_gb",
                condition=Q(status__gte=NEITHER_USED_NOR_FREE),
                name="extent_neither_used_nor_free",
            ),
        ]

    def __str__(self) -> str:
        return f"dext-{self.pk:08x}"


class AuditEntry(models.Model):
    """One change that somebody asked for; rows are only ever added (see inventory.audit)."""

    class Entrance(models.TextChoices):
        """How the wish came in."""

        RPC = "rpc", "API"
        CONSOLE = "console", "console"
        NODE = "node", "node"
        SYSTEM = "system", "system"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=150)
    way = models.CharField(max_length=8, choices=Entrance)
    verb = models.CharField(max_length=32)
    subject = models.CharField(max_length=200, help_text="what was changed, by its id")
    detail = models.TextField(blank=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(way__in=["rpc", "console", "node", "system"]), name="audit_way_known"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
            models.Index(fields=["verb", "-id"], name="audit_by_verb"),
            models.Index(fields=["way", "-id"], name="audit_by_way"),
            models.Index(fields=["subject", "-id"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor}: {self.verb} {self.subject}"


class Member(models.Model):
    """A machine that was invited to the cluster or has joined it; it may be a head and a storage.

    An invitation is used by the first key that comes with its secret, and by no other one.
    """

    class Roles(models.TextChoices):
        """What a machine may join as."""

        HEAD = "head", "head"
        STORAGE = "storage", "storage"
        BOTH = "head,storage", "head and storage"

    name = models.CharField(max_length=63, unique=True)
    roles = models.CharField(max_length=12, choices=Roles, default=Roles.BOTH)
    secret_hash = models.CharField(max_length=64, blank=True, help_text="of the join string")
    invited_until = models.DateTimeField(null=True, blank=True)
    used_by = models.CharField(max_length=64, blank=True, help_text="the key that used it")
    public_key = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the node's key")
    addresses = models.CharField(max_length=31, blank=True, help_text="one or two, with commas")
    token_name = models.CharField(max_length=64, blank=True)
    certificate_ends = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        verbose_name = "member"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(roles__in=["head", "storage", "head,storage"]),
                name="member_roles_known",
            ),
            models.UniqueConstraint(
                fields=["secret_hash"],
                condition=~Q(secret_hash=""),
                name="member_secret_is_one_members",
            ),
            models.CheckConstraint(
                condition=Q(secret_hash="") | Q(invited_until__isnull=False),
                name="member_invitation_ends",
            ),
            models.CheckConstraint(
                condition=Q(public_key="") | (~Q(addresses="") & ~Q(token_name="")),
                name="member_that_joined_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"node {self.name}"


class EventEntry(models.Model):
    """What happened to something, and why; rows are only added, and forgotten (inventory.events).

    The object is named as it was then, and by plain numbers: the event outlives what it is about.
    """

    class Severity(models.IntegerChoices):
        INFO = 1, "info"
        WARNING = 2, "warning"
        ERROR = 3, "error"

    class Kind(models.TextChoices):
        CREATED = "created", "created"
        DELETED = "deleted", "deleted"
        CHANGED = "changed", "changed"
        UP = "up", "in service"
        OFFLINE = "offline", "offline"
        FAILED = "failed", "failed"
        TAKEN_BACK = "taken_back", "failure taken back"
        BAD_BLOCKS = "bad_blocks", "bad blocks"
        DRAINING = "draining", "draining"
        DRAINED = "drained", "drained"
        MAINTENANCE_BEGUN = "maintenance_begun", "maintenance begun"
        MAINTENANCE_ENDED = "maintenance_ended", "maintenance ended"
        SHUT_DOWN = "shut_down", "shut down"
        RESUMED = "resumed", "resumed"
        ATTACHING = "attaching", "attach asked"
        ATTACHED = "attached", "attached"
        DETACHING = "detaching", "detach asked"
        DETACHED = "detached", "detached"
        FENCING = "fencing", "fence asked"
        FENCED = "fenced", "fenced off"
        DEGRADED = "degraded", "replicas lost"
        REPLICAS_BACK = "replicas_back", "replicas back"
        HEALED = "healed", "whole again"
        WAITING = "waiting", "waits for storage"
        GOES_ON = "goes_on", "goes on"
        BROKEN = "broken", "snapshot broken"
        UNEQUAL = "unequal", "replicas differ"
        MENDING = "mending", "mending asked"
        PATH_DOWN = "path_down", "path down"
        PATH_SLOW = "path_slow", "path slow"
        PATH_OK = "path_ok", "path well again"
        JOB_FAILED = "job_failed", "job failed"
        JOB_WAITS = "job_waits", "job waits"
        JOB_STEERED = "job_steered", "job steered"
        RECOVERY_BEGUN = "recovery_begun", "recovery mode begun"
        RECOVERY_ENDED = "recovery_ended", "recovery mode ended"
        RECOVERED = "recovered", "recovered from nodes"
        RELEASED = "released", "quarantine released"
        RESTORED = "restored", "database restored"

    class Object(models.TextChoices):
        CLUSTER = "cluster", "cluster"
        VOLUME = "volume", "volume"
        HEAD = "head", "head server"
        STORAGE = "storage", "storage server"
        DISK = "disk", "disk"
        JOB = "job", "job"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    severity = models.PositiveSmallIntegerField(choices=Severity)
    kind = models.CharField(max_length=20, choices=Kind)
    object_kind = models.CharField("object", max_length=8, choices=Object)
    object_id = models.BigIntegerField(default=0, help_text="0: the cluster")
    object_name = models.CharField(max_length=160, blank=True, help_text="as it was called then")
    cause = models.CharField(max_length=500, blank=True)
    job = models.IntegerField(null=True, blank=True, help_text="its eventid")
    actor = models.CharField(max_length=150)
    audit = models.ForeignKey(
        AuditEntry, models.SET_NULL, related_name="+", null=True, blank=True, db_index=False
    )

    class Meta:
        verbose_name = "event"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(severity__in=[1, 2, 3]), name="event_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
                        "created",
                        "deleted",
                        "changed",
                        "up",
                        "offline",
                        "failed",
                        "taken_back",
                        "bad_blocks",
                        "draining",
                        "drained",
                        "maintenance_begun",
                        "maintenance_ended",
                        "shut_down",
                        "resumed",
                        "attaching",
                        "attached",
                        "detaching",
                        "detached",
                        "fencing",
                        "fenced",
                        "degraded",
                        "replicas_back",
                        "healed",
                        "waiting",
                        "goes_on",
                        "broken",
                        "unequal",
                        "mending",
                        "path_down",
                        "path_slow",
                        "path_ok",
                        "job_failed",
                        "job_waits",
                        "job_steered",
                        "recovery_begun",
                        "recovery_ended",
                        "recovered",
                        "released",
                        "restored",
                    ]
                ),
                name="event_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(
                    object_kind__in=["cluster", "volume", "head", "storage", "disk", "job"]
                ),
                name="event_object_known",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["object_kind", "object_id", "-id"], name="event_by_object"),
            models.Index(fields=["severity", "-id"], name="event_by_severity"),
            models.Index(fields=["kind", "-id"], name="event_by_kind"),
            models.Index(fields=["job", "-id"], name="event_by_job"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.object_kind} {self.object_name}: {self.kind}"


class Webhook(models.Model):
    """A receiver that is told of events over HTTP, and how far it is (see inventory.webhooks).

    Its secret is made of `salt` and SECRET_KEY: who reads the database can sign nothing.
    """

    name = models.CharField(max_length=64, unique=True)
    url = models.CharField(max_length=500)
    severity = models.PositiveSmallIntegerField(
        choices=EventEntry.Severity, default=EventEntry.Severity.INFO, help_text="the least"
    )
    kinds = models.CharField(max_length=500, blank=True, help_text="with commas; none: all")
    salt = models.CharField(max_length=32)
    cursor = models.BigIntegerField(help_text="the last event that is behind it")
    due = models.DateTimeField(
        help_text="when it may be sent to next, or until when somebody does; the cluster's clock"
    )
    failures = models.IntegerField(default=0, help_text="in a row")
    failing_since = models.DateTimeField(null=True, blank=True, help_text="by the cluster's clock")
    error = models.CharField(max_length=200, blank=True, help_text="of the last failure")
    sent = models.DateTimeField(null=True, blank=True, help_text="when it took something last")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(url__startswith="http://") | Q(url__startswith="https://"),
                name="webhook_over_http",
            ),
            models.CheckConstraint(
                condition=Q(severity__in=[1, 2, 3]), name="webhook_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(failures=0, failing_since=None)
                | Q(failures__gte=1, failing_since__isnull=False),
                name="webhook_fails_since_its_first_failure",
            ),
        ]

    def __str__(self) -> str:
        return f"webhook {self.name}"
