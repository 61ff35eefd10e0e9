"""What we promise: volumes, their mirrors and replicas, where they are attached, and the jobs."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.checksums import BLOCK, CHUNK
from agents.ondisk import GB
from agents.protocol import MEANINGS, Reason
from inventory import clock
from inventory.models import Disk, Extent, HeadServer, StorageServer
from volumes import sample_models  # noqa: F401 - Django finds its models by this one's


class LogicalVolume(models.Model):
    """A volume that a user named; a snapshot is a volume with an origin.

    The id, the id of its snapshot node and of its LINEAR node come from the one volume id space.
    A *group* is an origin with its snapshots: it is attached, detached and fenced as one, under the
    id and the epoch of the origin.
    """

    id = models.IntegerField(primary_key=True, help_text="the lvolid")
    node_id = models.IntegerField(unique=True, help_text="SNAPSHOT-ORIGIN or SNAPSHOT node")
    linear_id = models.IntegerField(unique=True, help_text="LINEAR node")
    name = models.CharField(max_length=64, unique=True)
    capacity_gb = models.IntegerField(help_text="what the user asked for and sees")
    store_gb = models.IntegerField(
        help_text="what each replica occupies: the capacity, or a snapshot's copy-on-write store"
    )
    redundancy = models.PositiveSmallIntegerField()
    tags = models.CharField(
        max_length=256,
        blank=True,
        help_text="words that the disks of its replicas must have",
    )
    origin = models.ForeignKey(
        "self", models.PROTECT, related_name="snapshots", null=True, blank=True
    )
    epoch = models.IntegerField(
        default=0, help_text="of a group: rises at every bind and every eviction, for ever"
    )
    closed_cleanly = models.BooleanField(
        default=True,
        help_text="of a group: the last use ended with all replicas equal and recorded",
    )
    broken = models.BooleanField(
        default=False, help_text="of a snapshot: its store lost data; it can only be deleted"
    )
    broken_because = models.CharField(
        max_length=200, blank=True, default="", help_text="for people: what broke it"
    )
    waiting_since = models.DateTimeField(
        null=True,
        blank=True,
        help_text="when its head lost all good replicas of some part of it; requests wait for them",
    )
    created = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = "volume"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id__gte=1), name="volume_id_positive"),
            models.CheckConstraint(
                condition=Q(broken=False) | Q(origin__isnull=False), name="volume_not_broken"
            ),
            models.CheckConstraint(
                condition=Q(broken=True) | Q(broken_because=""), name="volume_broken_because"
            ),
            models.CheckConstraint(
                condition=Q(capacity_gb__gte=1, capacity_gb__lte=1048576), name="volume_capacity"
            ),
            models.CheckConstraint(condition=Q(store_gb__gte=1), name="volume_store"),
            models.CheckConstraint(
                condition=Q(redundancy__gte=2, redundancy__lte=9), name="volume_redundancy"
            ),
            models.CheckConstraint(condition=Q(epoch__gte=0), name="volume_epoch"),
            models.CheckConstraint(
                condition=Q(origin__isnull=True) | ~Q(origin=models.F("id")),
                name="volume_not_its_own_origin",
            ),
        ]

    def __str__(self) -> str:
        return f"lvol-{self.pk:08x}"

    @property
    def name_and_id(self) -> str:
        """Name it where its id is of use as well; its name alone says which it is."""
        return f"{self.name} ({self})" if self.name else str(self)


class Mirror(models.Model):
    """A stretch of a volume that is kept in several replicas."""

    id = models.IntegerField(primary_key=True, help_text="the mirrorid")
    volume = models.ForeignKey(
        LogicalVolume, models.CASCADE, related_name="mirrors", db_index=False
    )
    offset_gb = models.IntegerField(help_text="where in the volume it begins")
    size_gb = models.IntegerField()
    scrubbed = models.DateTimeField(
        default=timezone.now,
        help_text="when its replicas were last compared to the end, or made",
    )
    scrub_tried = models.DateTimeField(
        null=True, blank=True, help_text="when comparing them was last put off"
    )
    scrub_mib = models.IntegerField(default=0, help_text="where the comparing goes on")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("volume", "offset_gb", name="mirror_one_per_offset"),
            models.CheckConstraint(
                condition=Q(offset_gb__gte=0) & Q(size_gb__gte=1), name="mirror_has_size"
            ),
        ]
        indexes: ClassVar = [models.Index("scrubbed", name="mirror_scrubbed")]

    def __str__(self) -> str:
        return f"mirr-{self.pk:08x}"


class ReplicaQuerySet(models.QuerySet["Replica"]):
    """Carries the one way in which a replica's status may change."""

    def move(self, was: "Replica.Status", to: "Replica.Status", **about: Any) -> int:
        """Compare and set: replicas that are no longer `was` stay as they are; how many moved.

        `about`: what else is written of those that move.
        """
        if to not in Replica.NEXT[was]:
            raise ValueError(f"a replica never goes from {was.name} to {to.name}")
        return self.filter(status=was).update(status=to, **about)


class Replica(models.Model):
    """One replica of a mirror, living in one extent. Its id is the extent's: the dextid."""

    class Status(models.IntegerChoices):
        """The wire's mirror_status; NEEDSHRED (exposed to a head once) is shown as ALLOCATED."""

        ALLOCATED = 1
        INSYNC = 2
        SPARE = 3
        FAULTY = 4
        NEEDSHRED = 5

    NEXT: ClassVar[dict[Status, set[Status]]] = {
        Status.ALLOCATED: {Status.NEEDSHRED, Status.FAULTY},
        Status.NEEDSHRED: {Status.INSYNC, Status.SPARE, Status.FAULTY},
        Status.INSYNC: {Status.FAULTY, Status.SPARE},
        Status.SPARE: {Status.INSYNC, Status.FAULTY},
        Status.FAULTY: {Status.SPARE},
    }

    extent = models.OneToOneField(Extent, models.PROTECT, primary_key=True)
    mirror = models.ForeignKey(Mirror, models.CASCADE, related_name="replicas", db_index=False)
    server = models.ForeignKey(
        StorageServer, models.PROTECT, related_name="replicas", help_text="the server of its disk"
    )
    status = models.PositiveSmallIntegerField(choices=Status, default=Status.ALLOCATED)
    events = models.IntegerField(
        default=0, help_text="the event count that the head recorded on this replica when last told"
    )
    since = models.DateTimeField(default=timezone.now, help_text="of the present status")
    reason = models.CharField(
        max_length=16,
        choices=[(reason.value, meaning) for reason, meaning in MEANINGS.items()],
        blank=True,
        help_text="why it is FAULTY; of the last good one: why its head does not reach it",
    )

    objects = ReplicaQuerySet.as_manager()

    class Meta:
        verbose_name = "replica"
        verbose_name_plural = "replicas"
        constraints: ClassVar = [
            models.UniqueConstraint("mirror", "server", name="replica_one_per_server"),
            models.CheckConstraint(
                condition=Q(status__in=range(1, 6)), name="replica_status_known"
            ),
            models.CheckConstraint(
                condition=Q(reason__in=[reason.value for reason in Reason]),
                name="replica_reason_known",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                "mirror", condition=Q(status__gte=3, status__lte=4), name="replica_needs_repair"
            ),
        ]

    def __str__(self) -> str:
        return f"dext-{self.pk:08x}"


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    """Carries the one way in which an attachment's state may change."""

    def move(self, was: "Attachment.State", to: "Attachment.State", error: str = "") -> bool:
        """Compare and set: a state that is no longer `was` stays as it is, and we say so.

        A detach only tries to end a state: until it succeeds or gives up, `since` tells of that.
        """
        if to not in Attachment.NEXT[was]:
            raise ValueError(f"an attachment never goes from {was} to {to}")
        found = self.filter(state=was)
        if to == Attachment.State.UNBINDING:
            return bool(found.update(state=to, error=error))
        return bool(found.update(state=to, error=error, since=clock.now()))

    def put_back(self, error: str) -> bool:
        """Compare and set: what its head would not let go of is as it was before the detach."""
        back = Attachment.State.ERROR if error else Attachment.State.BOUND
        return bool(self.filter(state=Attachment.State.UNBINDING).update(state=back, error=error))


class Attachment(models.Model):
    """A group on a head server; no row means detached."""

    class State(models.TextChoices):
        BINDING = "binding"
        BOUND = "bound"
        UNBINDING = "unbinding"
        ERROR = "error"

    NEXT: ClassVar[dict[State, set[State]]] = {
        State.BINDING: {State.BOUND, State.ERROR, State.UNBINDING},
        State.BOUND: {State.UNBINDING, State.ERROR},
        State.UNBINDING: {State.BOUND, State.ERROR},
        State.ERROR: {State.UNBINDING},
    }

    volume = models.OneToOneField(
        LogicalVolume, models.PROTECT, related_name="attachment", help_text="the origin"
    )
    head = models.ForeignKey(HeadServer, models.PROTECT, related_name="attachments")
    state = models.CharField(max_length=9, choices=State, default=State.BINDING)
    error = models.TextField(blank=True, help_text="why it is in ERROR, for people")
    since = models.DateTimeField(default=timezone.now)

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=["binding", "bound", "unbinding", "error"]),
                name="attachment_state_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.volume_id} on {self.head_id}: {self.state}"


class Job(models.Model):
    """A piece of work that needs nodes; the id is the event id. The row is the truth.

    `due` alone is lease, poll delay, retry delay and recovery: whoever moves it forward by compare
    and set holds the next step until then, and writes no more once another token is in `holder`.
    """

    class Kind(models.TextChoices):
        ATTACH = "attach"
        DETACH = "detach"
        FENCE = "fence", "fence off a dead head"
        SNAPSHOT = "snapshot", "show a snapshot on the head"
        UNSNAPSHOT = "unsnapshot", "delete a snapshot that the head shows"
        REBUILD = "rebuild"
        SHRED = "shred"
        EVACUATE = "evacuate", "move all replicas away from a server or disk"
        MAINTENANCE = "maintenance", "leave a server or disk alone for a while"
        SCRUB = "scrub", "compare the replicas of a mirror"
        MEND = "mend", "make blocks that differ equal"
        BATCH = "batch", "do one thing to many volumes"

    class State(models.TextChoices):
        OPEN = "open"
        DONE = "done"
        FAILED = "failed"
        CANCELED = "canceled"

    class CopyingNode(models.TextChoices):
        """The node that brings a replica up to date."""

        HEAD = "head", "the head that uses the volume"
        STORAGE = "storage", "the replica's own storage server"

    EXCLUSIVE: ClassVar = [
        Kind.ATTACH,
        Kind.DETACH,
        Kind.FENCE,
        Kind.SNAPSHOT,
        Kind.UNSNAPSHOT,
    ]

    id = models.IntegerField(primary_key=True, help_text="the eventid")
    kind = models.CharField(max_length=11, choices=Kind)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    subject = models.CharField(max_length=160, help_text="for people; outlives what it names")
    volume = models.ForeignKey(
        LogicalVolume,
        models.SET_NULL,
        related_name="jobs",
        null=True,
        blank=True,
        help_text="the group",
    )
    snapshot = models.ForeignKey(
        LogicalVolume, models.SET_NULL, related_name="+", null=True, blank=True
    )
    mirror = models.ForeignKey(
        Mirror,
        models.SET_NULL,
        related_name="jobs",
        null=True,
        blank=True,
        help_text="of a rebuild, scrub or mend",
    )
    extent = models.ForeignKey(
        Extent,
        models.SET_NULL,
        related_name="jobs",
        null=True,
        blank=True,
        help_text="being shredded, the replica being built, or one that differs",
    )
    server = models.ForeignKey(
        StorageServer,
        models.SET_NULL,
        related_name="jobs",
        null=True,
        blank=True,
        help_text="being evacuated or maintained",
    )
    disk = models.ForeignKey(
        Disk,
        models.SET_NULL,
        related_name="jobs",
        null=True,
        blank=True,
        help_text="being evacuated or maintained",
    )
    paused = models.BooleanField(default=False, help_text="an evacuation or a scrub that rests")
    ordered = models.BooleanField(
        default=False, help_text="of long work: an order of this job may be out on a node"
    )
    forced = models.BooleanField(
        default=False,
        help_text="of an attach: replicas that cannot be read are not the newest; of a shred: what"
        " its disk tells of there is over",
    )
    copier = models.CharField(
        max_length=7,
        choices=CopyingNode,
        blank=True,
        help_text="of a rebuild whose order is out: which node copies",
    )
    copier_epoch = models.IntegerField(
        default=0, help_text="of a rebuild whose order is out: the volume's epoch at that time"
    )
    was_broken = models.BooleanField(
        null=True, help_text="of a deletion the head was told of: the snapshot was broken before"
    )
    replaces = models.IntegerField(
        default=0, help_text="of a rebuild: the dextid of the replica whose place is taken"
    )
    attempts = models.PositiveIntegerField(default=0, help_text="failed tries of the present step")
    order = models.PositiveIntegerField(
        default=0, help_text="numbers this job's orders to nodes: a new try is a new order"
    )
    urgency = models.PositiveSmallIntegerField(
        default=0, help_text="lower goes first; of a rebuild: the number of good replicas left"
    )
    since = models.DateTimeField(default=timezone.now, help_text="when it was asked for")
    due = models.DateTimeField()
    holder = models.CharField(
        max_length=16, blank=True, help_text="the token of who takes the present step"
    )
    deadline = models.DateTimeField(null=True, blank=True)
    waiting = models.CharField(max_length=250, blank=True, help_text="what it waits for")
    done_mib = models.BigIntegerField(default=0)
    total_mib = models.BigIntegerField(default=0)
    moved = models.DateTimeField(
        null=True,
        blank=True,
        help_text="of long work: when it last got on, or waited its turn",
    )
    errno = models.IntegerField(default=0)
    error = models.TextField(blank=True)
    actor = models.CharField(max_length=64, blank=True, help_text="who asked for it")
    created = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
                        "attach",
                        "detach",
                        "fence",
                        "snapshot",
                        "unsnapshot",
                        "rebuild",
                        "shred",
                        "evacuate",
                        "maintenance",
                        "scrub",
                        "mend",
                        "batch",
                    ]
                ),
                name="job_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["open", "done", "failed", "canceled"]),
                name="job_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="open") ^ Q(finished__isnull=False), name="job_open_or_finished"
            ),
            models.CheckConstraint(
                condition=Q(copier__in=["", "head", "storage"]), name="job_copier_known"
            ),
            models.UniqueConstraint(
                "volume",
                condition=Q(
                    state="open", kind__in=["attach", "detach", "fence", "snapshot", "unsnapshot"]
                ),
                name="job_one_exclusive_per_group",
            ),
            models.UniqueConstraint(
                "mirror",
                condition=Q(state="open", kind="rebuild"),
                name="job_one_rebuild_per_mirror",
            ),
            models.UniqueConstraint(
                "mirror", condition=Q(state="open", kind="scrub"), name="job_one_scrub_per_mirror"
            ),
            models.UniqueConstraint(
                "extent", condition=Q(state="open", kind="shred"), name="job_one_shred_per_extent"
            ),
            models.UniqueConstraint(
                "server",
                condition=Q(state="open", kind__in=["evacuate", "maintenance"]),
                name="job_one_care_per_server",
            ),
            models.UniqueConstraint(
                "disk",
                condition=Q(state="open", kind__in=["evacuate", "maintenance"]),
                name="job_one_care_per_disk",
            ),
        ]
        indexes: ClassVar = [
            models.Index("due", condition=Q(state="open"), name="job_due"),
            models.Index(fields=["-finished"], name="job_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def asked(self) -> str:
        """Say for people what was last asked of a node; "" where nothing is out."""
        if self.copier:
            return f"copying by {self.CopyingNode(self.copier).label}, epoch {self.copier_epoch}"
        return str(self.kind) if self.ordered else ""


class JobLine(models.Model):
    """One line of a job's story, for people: asked for, told a node, waits for, ended."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="lines")
    at = models.DateTimeField(auto_now_add=True)
    text = models.CharField(max_length=500)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.text


class Batch(models.Model):
    """One thing that a job does to many volumes, one by one."""

    class Kind(models.TextChoices):
        ATTACH = "attach"
        DETACH = "detach"
        DELETE = "delete"

    job = models.OneToOneField(Job, models.CASCADE, primary_key=True, related_name="batch")
    verb = models.CharField(max_length=6, choices=Kind)
    head = models.IntegerField(default=0, help_text="of an attach: the hsvrid")
    force = models.BooleanField(default=False, help_text="of an attach: as of one volume")

    class Meta:
        verbose_name_plural = "batches"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(verb="attach", head__gte=1) | Q(verb__in=["detach", "delete"], head=0),
                name="batch_verb_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.verb} by {self.job_id}"


class BatchRow(models.Model):
    """What becomes of one volume of a batch; it is named as it was, and outlives the volume."""

    class State(models.TextChoices):
        WAITING = "waiting"
        BEGUN = "begun", "under way"
        DONE = "done"
        REFUSED = "refused", "not done"

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="rows", db_index=False)
    volume = models.IntegerField(help_text="the lvolid")
    name = models.CharField(max_length=64)
    state = models.CharField(max_length=7, choices=State, default=State.WAITING)
    job = models.IntegerField(null=True, blank=True, help_text="the eventid of what it began")
    text = models.CharField(max_length=250, blank=True, help_text="why it was not done")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("batch", "volume", name="batch_row_once"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "begun", "done", "refused"]),
                name="batch_row_state_known",
            ),
        ]
        indexes: ClassVar = [models.Index("batch", "state", name="batch_row_by_state")]

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"


class UnequalBlock(models.Model):
    """Adjacent blocks that are not the same on all replicas of a mirror."""

    class State(models.TextChoices):
        OPEN = "open", "differs"
        MENDED = "mended"
        GONE = "gone", "overwritten since"
        DISMISSED = "dismissed"

    mirror = models.ForeignKey(Mirror, models.CASCADE, related_name="unequal_blocks")
    job = models.OneToOneField(
        Job,
        models.SET_NULL,
        related_name="unequal_block",
        null=True,
        blank=True,
        help_text="what mends it",
    )
    offset_mib = models.IntegerField(help_text="the chunk of the mirror in which they are")
    first = models.PositiveSmallIntegerField(help_text="which block of 4 KiB in it is the first")
    count = models.PositiveSmallIntegerField(help_text="how many blocks of 4 KiB")
    state = models.CharField(max_length=9, choices=State, default=State.OPEN)
    source = models.IntegerField(
        null=True, blank=True, help_text="the dextid whose content somebody chose"
    )
    found = models.DateTimeField(auto_now_add=True)
    ended = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=["open", "mended", "gone", "dismissed"]),
                name="unequal_block_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="open") ^ Q(ended__isnull=False),
                name="unequal_block_open_or_ended",
            ),
            models.CheckConstraint(
                condition=Q(offset_mib__gte=0, count__gte=1, first__lte=255),
                name="unequal_block_in_its_chunk",
            ),
            models.UniqueConstraint(
                fields=["mirror", "offset_mib", "first"],
                condition=Q(state="open"),
                name="unequal_block_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.length} bytes at {self.offset} of mirr-{self.mirror_id:08x}"

    @property
    def offset(self) -> int:
        """Where in the mirror they begin, in bytes."""
        return self.offset_mib * CHUNK + self.first * BLOCK

    @property
    def volume_offset(self) -> int:
        """Where in the volume, or in the snapshot's store, they begin, in bytes."""
        return self.mirror.offset_gb * GB + self.offset

    @property
    def length(self) -> int:
        """How long they are, in bytes."""
        return self.count * BLOCK


class BlockContent(models.Model):
    """What one replica has in place of unequal blocks, as a digest."""

    block = models.ForeignKey(UnequalBlock, models.CASCADE, related_name="contents", db_index=False)
    dextid = models.IntegerField(help_text="the replica")
    server_id = models.IntegerField(help_text="the storage server that it was on; may be gone")
    digest = models.CharField(
        max_length=32, blank=True, help_text="empty: zeros; or that the disk cannot read it"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("block", "dextid", name="block_content_once_per_replica")
        ]

    def __str__(self) -> str:
        return f"{self.digest or 'zeros'} on ssvr-{self.server_id:08x}"


class Orphan(models.Model):
    """Something on a node that this database does not understand: it is shown, never touched."""

    class Kind(models.TextChoices):
        EXPORT = "export", "an extent that is exported"
        GROUP = "group", "a group that runs on a head"
        SNAPSHOT = "snapshot", "a snapshot that a head shows"
        REPLICA = "replica", "a replica on a disk, in quarantine"

    kind = models.CharField(max_length=8, choices=Kind)
    server = models.IntegerField(help_text="the ssvrid of an export, the hsvrid of the others")
    lvolid = models.IntegerField(help_text="of an export: its group")
    epoch = models.IntegerField()
    dextid = models.IntegerField(default=0)
    disk = models.CharField(max_length=64, blank=True, help_text="the name in the disk's label")
    clients = models.IntegerField(default=0, help_text="how many have it open")
    at_gb = models.BigIntegerField(default=0, help_text="of a replica: where on its disk")
    name = models.CharField(max_length=64, blank=True, help_text="of a replica: its volume's")
    reason = models.CharField(max_length=200, blank=True, help_text="why it was not taken up")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "orphan"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind__in=["export", "group", "snapshot", "replica"]),
                name="orphan_kind_known",
            ),
            models.UniqueConstraint(
                "kind",
                "server",
                "lvolid",
                "epoch",
                "dextid",
                "disk",
                "at_gb",
                name="orphan_told_once",
            ),
        ]

    def __str__(self) -> str:
        what = f" dext-{self.dextid:08x}" if self.dextid else ""
        return f"{self.kind}{what} of lvol-{self.lvolid:08x} at epoch {self.epoch}"

    @property
    def place(self) -> str:
        """Name the server as it is known everywhere."""
        kind = "ssvr" if self.kind in {self.Kind.EXPORT, self.Kind.REPLICA} else "hsvr"
        return f"{kind}-{self.server:08x}"


class AbsentNode(models.Model):
    """A node that a recovery went without: once it answers again it is asked what it knows."""

    head = models.OneToOneField(HeadServer, models.CASCADE, null=True, blank=True)
    storage = models.OneToOneField(StorageServer, models.CASCADE, null=True, blank=True)
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(head__isnull=True) ^ Q(storage__isnull=True), name="absent_is_one_node"
            )
        ]

    def __str__(self) -> str:
        return f"{self.node}, since {self.since}"

    @property
    def node(self) -> str:
        """Name the node as it is known everywhere."""
        return f"hsvr-{self.head_id:08x}" if self.head_id else f"ssvr-{self.storage_id:08x}"


class Acknowledgement(models.Model):
    """Somebody knows of a problem, by its key: who, why, and until when it is told apart."""

    key = models.CharField(max_length=80, unique=True)
    risk = models.SmallIntegerField(help_text="how bad it was; it is told again if it gets worse")
    until = models.DateTimeField()
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(reason=""), name="acknowledgement_has_a_reason")
        ]

    def __str__(self) -> str:
        return f"{self.key} until {self.until}, by {self.actor}"
