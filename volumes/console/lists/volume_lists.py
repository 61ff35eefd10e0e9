"""Lists of volumes, their attachments, mirrors and replicas."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from volumes.console.frame.cells import link, named
from volumes.console.frame.formats import NOTHING, lasting, since, size
from volumes.console.frame.page import number
from volumes.console.frame.pills import (
    ATTACHMENTS,
    REPLICAS,
    WAITING,
    Pill,
    activity_pills,
    protection_pill,
)
from volumes.console.frame.spark import spark
from volumes.console.lists import sort_orders
from volumes.console.lists.listing import Listing, previewed
from volumes.console.pages import charts, volume_page
from volumes.models import Attachment, LogicalVolume, Mirror, Replica
from volumes.replicas.rows import out_of_sync
from volumes.reports import activity, protection
from volumes.reports.activity import Activity

State = Attachment.State


class ByState(admin.SimpleListFilter):
    """Volumes by where they are attached."""

    title = "attachment"
    parameter_name = "attached"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "detached"), *((state.value, ATTACHMENTS[state].text) for state in State)]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[LogicalVolume]
    ) -> QuerySet[LogicalVolume]:
        if self.value() == "no":
            return queryset.filter(attachment=None, origin__attachment=None)
        if self.value() in State.values:
            state = self.value()
            own = queryset.filter(attachment__state=state)
            return own | queryset.filter(origin__attachment__state=state)
        return queryset


class ByReplicas(admin.SimpleListFilter):
    """Volumes by the fewest good replicas that any part has."""

    title = "good replicas"
    parameter_name = "replicas"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("0", "none: data is out of reach"),
            ("1", "the last one"),
            ("fewer", "fewer than promised"),
            ("reduced", "fewer than promised, but more than one"),
            ("all", "all"),
            ("broken", "broken snapshots"),
            *((str(replicas), f"{replicas} replicas") for replicas in range(2, 10)),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[LogicalVolume]
    ) -> QuerySet[LogicalVolume]:
        wanted = self.value()
        if not wanted:
            return queryset
        if wanted == "broken":
            return queryset.filter(broken=True)
        weak = protection.weak_volumes()
        queryset = queryset.filter(broken=False)
        if wanted == "all":
            return queryset.exclude(pk__among=weak)
        if wanted in {"fewer", "reduced"}:
            least = 0 if wanted == "fewer" else 2
            some = [pk for pk, volume in weak.items() if volume.fewest >= least]
            return queryset.filter(pk__among=some)
        if (replicas := number(wanted)) < 0:
            return queryset
        fewest = [volume_id for volume_id, volume in weak.items() if volume.fewest == replicas]
        whole = queryset.filter(redundancy=replicas).exclude(pk__among=weak)
        return queryset.filter(pk__among=fewest) | whole


class ByActivity(admin.SimpleListFilter):
    """Volumes by what is done to them, or what they wait for."""

    title = "activity"
    parameter_name = "doing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = {Activity.RECOVERING: "recovering or moving", Activity.TO_RECOVER: "to recover"}
        shown = [(one.name.lower(), names.get(one, str(one))) for one in Activity]
        return [("waiting", "waiting for storage"), *shown]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[LogicalVolume]
    ) -> QuerySet[LogicalVolume]:
        wanted = (self.value() or "").upper()
        if wanted == "WAITING":
            return queryset.filter(waiting_since__isnull=False)
        if wanted in Activity.__members__:
            return activity.choose(queryset, Activity[wanted])
        return queryset


class ByLoss(admin.SimpleListFilter):
    """Volumes that lack a replica by a server or a disk, as the cards of problems name it."""

    title = "lost with"
    parameter_name = "lost"
    PLACES: ClassVar = {"storageserver": "server", "disk": "extent__disk"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name, "")
        return [(chosen, chosen.replace("-", " "))] if chosen else []

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[LogicalVolume]
    ) -> QuerySet[LogicalVolume]:
        kind, _, key = (self.value() or "").partition("-")
        if kind not in self.PLACES:
            return queryset
        degraded = Replica.objects.filter(
            out_of_sync(),
            **{self.PLACES[kind]: number(key)},
        )
        return queryset.filter(pk__in=degraded.values("mirror__volume"))


class ByKind(admin.SimpleListFilter):
    """Volumes or snapshots."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("volume", "volumes"), ("snapshot", "snapshots")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[LogicalVolume]
    ) -> QuerySet[LogicalVolume]:
        if self.value() in {"volume", "snapshot"}:
            return queryset.filter(origin__isnull=self.value() == "volume")
        return queryset


class VolumeList(Listing):
    """Volumes with their protection and where they are attached."""

    list_display = (
        "name_and_id",
        "replicas",
        "attached",
        "where",
        "busy",
        "gb",
        "snapshot_of",
        "made",
    )
    list_filter = (ByReplicas, ByState, ByActivity, ByLoss, ByKind, "redundancy")
    list_select_related = ("attachment__head", "origin__attachment__head")
    search_fields = ("name",)
    ordering = ("pk",)
    list_disable_select_all = False
    actions = (
        previewed("attach", "Attach ..."),
        previewed("detach", "Detach ..."),
        previewed("delete-volume", "Delete ..."),
    )

    def prepare(self, rows: Sequence[Any]) -> None:
        volumes = [row.pk for row in rows]
        weak, done = protection.weak_volumes(volumes), activity.of_volumes(volumes)
        sparks = charts.sparks(charts.Kind.VOLUME, volumes)
        for row in rows:
            row.spark = sparks.get(row.pk)
            row.activities = activity_pills(done.get(row.pk, []), whole=row.pk not in weak)
            row.fewest = weak[row.pk].fewest if row.pk in weak else row.redundancy

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return volume_page.show(request, object_id)

    @admin.display(description="Volume", ordering="name")
    def name_and_id(self, row: LogicalVolume) -> SafeString:
        return named(row.name, row)

    @admin.display(description="Good replicas", ordering=sort_orders.PROTECTION)
    def replicas(self, row: Any) -> Pill:
        return protection_pill(row, row.fewest)

    @admin.display(description="State", ordering=sort_orders.ATTACHED)
    def attached(self, row: Any) -> SafeString:
        attached = _attachment(row)
        state = ATTACHMENTS[State(attached.state)] if attached else ATTACHMENTS[""]
        if attached and row.waiting_since:
            state = WAITING
        shown = [(state,), *((pill,) for pill in row.activities)]
        return format_html('<span class="vs-doors">{}</span>', format_html_join("", "{}", shown))

    @admin.display(description="Head server", ordering=sort_orders.HEAD)
    def where(self, row: LogicalVolume) -> SafeString | str:
        attached = _attachment(row)
        return link(attached.head, attached.head.name) if attached else NOTHING

    @admin.display(description="Requests, last hour")
    def busy(self, row: Any) -> SafeString | str:
        return spark(row.spark)

    @admin.display(description="Capacity", ordering="capacity_gb")
    def gb(self, row: LogicalVolume) -> str:
        return size(row.capacity_gb)

    @admin.display(description="Snapshot of", ordering="origin")
    def snapshot_of(self, row: LogicalVolume) -> SafeString | str:
        return link(row.origin, row.origin.name) if row.origin else NOTHING

    @admin.display(description="Created", ordering="created")
    def made(self, row: LogicalVolume) -> SafeString:
        return since(row.created)


class AttachmentList(Listing):
    """Which group is attached where."""

    list_display = ("volume_name", "state_pill", "to_head", "gb", "epoch", "from_when", "error")
    list_filter = ("state", "head")
    list_select_related = ("volume", "head")
    search_fields = ("volume__name", "error")
    ordering = ("-since",)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return volume_page.lead_from_attachment(object_id)

    @admin.display(description="Volume", ordering="volume__name")
    def volume_name(self, row: Attachment) -> SafeString:
        return named(row.volume.name, row.volume)

    @admin.display(description="State", ordering="state")
    def state_pill(self, row: Attachment) -> Pill:
        return ATTACHMENTS[State(row.state)]

    @admin.display(description="Head server", ordering="head")
    def to_head(self, row: Attachment) -> SafeString | str:
        return link(row.head, row.head.name)

    @admin.display(description="Capacity", ordering="volume__capacity_gb")
    def gb(self, row: Attachment) -> str:
        return size(row.volume.capacity_gb)

    @admin.display(description="Epoch", ordering="volume__epoch")
    def epoch(self, row: Attachment) -> int:
        return row.volume.epoch

    @admin.display(description="Since", ordering="since")
    def from_when(self, row: Attachment) -> SafeString:
        return lasting(row.since)


class ReplicaList(Listing):
    """Every replica of every mirror."""

    list_display = (
        "replica",
        "status_pill",
        "of_volume",
        "on_disk",
        "on_server",
        "gb",
        "reason",
        "when",
    )
    list_filter = ("status", "reason")
    list_select_related = ("mirror__volume", "extent__disk", "server")
    search_fields = ("mirror__volume__name",)
    ordering = ("pk",)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return volume_page.lead_from_replica(object_id)

    @admin.display(description="Replica", ordering="pk")
    def replica(self, row: Replica) -> SafeString:
        return named(str(row), row.mirror)

    @admin.display(description="Status", ordering="status")
    def status_pill(self, row: Replica) -> Pill:
        return REPLICAS[Replica.Status(row.status)]

    @admin.display(description="Volume")
    def of_volume(self, row: Replica) -> SafeString | str:
        return link(row.mirror.volume, row.mirror.volume.name)

    @admin.display(description="Disk")
    def on_disk(self, row: Replica) -> SafeString | str:
        return link(row.extent.disk)

    @admin.display(description="Server")
    def on_server(self, row: Replica) -> SafeString | str:
        return link(row.server)

    @admin.display(description="Size")
    def gb(self, row: Replica) -> str:
        return size(row.extent.size_gb)

    @admin.display(description="Since", ordering="since")
    def when(self, row: Replica) -> SafeString:
        return lasting(row.since)


class MirrorList(Listing):
    """The stretches of volumes that are kept in several replicas."""

    list_display = ("__str__", "of_volume", "offset", "gb")
    list_select_related = ("volume",)
    search_fields = ("volume__name",)
    ordering = ("pk",)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return volume_page.lead_from_mirror(object_id)

    @admin.display(description="Volume", ordering="volume__name")
    def of_volume(self, row: Mirror) -> SafeString | str:
        return link(row.volume, row.volume.name)

    @admin.display(description="Begins at", ordering="offset_gb")
    def offset(self, row: Mirror) -> str:
        return size(row.offset_gb)

    @admin.display(description="Size", ordering="size_gb")
    def gb(self, row: Mirror) -> str:
        return size(row.size_gb)


def _attachment(volume: LogicalVolume) -> Attachment | None:
    """Find the attachment of a volume's group among what was read with it."""
    return getattr(volume.origin or volume, "attachment", None)
