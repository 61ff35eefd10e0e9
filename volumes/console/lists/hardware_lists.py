"""Lists of servers, disks and extents."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inventory.models import ALIVE, Disk, Extent, HeadServer, StorageServer
from volumes.console.frame import address_states
from volumes.console.frame.cells import link, named, used_bar
from volumes.console.frame.formats import NOTHING, lasting, size
from volumes.console.frame.permissions import Right
from volumes.console.frame.pills import EXTENTS, Pill, place_pill, server_pill
from volumes.console.frame.spark import spark
from volumes.console.lists import sort_orders
from volumes.console.lists.listing import Listing, previewed
from volumes.console.pages import charts, hardware_pages
from volumes.models import Attachment
from volumes.reports import capacity, care, networks, silence, tree

ADMINISTER = Right.ADMINISTER


class BySilence(admin.SimpleListFilter):
    """Servers by whether they answer."""

    title = "answers"
    parameter_name = "answers"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "answers"), ("half", "on one network only"), ("no", "silent")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "no":
            return queryset.filter(silent_since__lte=silence.limit(), priority__in=ALIVE)
        if self.value() == "half":
            kind = "head" if queryset.model is HeadServer else "storage"
            return queryset.filter(pk__in=networks.half_silent().values(kind))
        if self.value() == "yes":
            return queryset.filter(silent_since=None, priority__in=ALIVE)
        return queryset


class ServerList(Listing):
    """What the lists of both kinds of servers share."""

    search_fields = ("name", "host_name", "addresses__address", "site", "rack")
    ordering = ("pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("addresses")

    @admin.display(description="Server", ordering="pk")
    def server(self, row: HeadServer | StorageServer) -> SafeString:
        return named(row.label, " · ".join(filter(None, (row.site, row.rack))))

    @admin.display(description="State", ordering=sort_orders.HEAD_HEALTH)
    def state(self, row: HeadServer | StorageServer) -> Pill:
        return server_pill(row.priority, row.silent_since)

    @admin.display(description="Addresses")
    def networks(self, row: HeadServer | StorageServer) -> SafeString:
        rows = sorted(row.addresses.all(), key=lambda address: address.position)
        shown = format_html_join("", "<span>{}</span>", ((address_states.of(row),) for row in rows))
        return format_html('<span class="vs-doors">{}</span>', shown)

    @admin.display(description="Requests, last hour")
    def busy(self, row: Any) -> SafeString | str:
        return spark(row.spark)

    @admin.display(description="Last answer", ordering="last_answer")
    def answered(self, row: HeadServer | StorageServer) -> SafeString:
        return lasting(row.last_answer)


class HeadList(ServerList):
    """Head servers with what is attached there."""

    list_display = ("server", "state", "networks", "volumes", "busy", "resync", "answered")
    list_filter = ("priority", BySilence)
    actions = (
        previewed("fail-head", "Declare failed ...", ADMINISTER),
        previewed("delete-head", "Delete ...", ADMINISTER),
    )

    def prepare(self, rows: Sequence[Any]) -> None:
        attached = Attachment.objects.filter(head__in=rows).values_list("head")
        counts = dict(attached.annotate(Count("pk")).order_by())
        rebuilds = tree.rebuilds_by_head()
        sparks = charts.sparks(charts.Kind.HEAD, [row.pk for row in rows])
        for row in rows:
            row.spark = sparks.get(row.pk)
            row.volume_count, row.rebuilds = counts.get(row.pk, 0), rebuilds.get(row.pk, 0)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return hardware_pages.show_head(request, object_id)

    @admin.display(description="Attached volumes", ordering=sort_orders.HEAD_VOLUMES)
    def volumes(self, row: Any) -> int:
        return int(row.volume_count)

    @admin.display(description="Resync")
    def resync(self, row: Any) -> int:
        return int(row.rebuilds)


class StorageList(ServerList):
    """Storage servers with the room on their disks."""

    list_display = (
        "server",
        "state",
        "networks",
        "disk_count",
        "usage",
        "busy",
        "resync",
        "answered",
    )
    list_filter = ("priority", BySilence, "site", "rack")
    actions = (
        previewed("evacuate-storage", "Evacuate ...", ADMINISTER),
        previewed("return-storage", "Return to service ...", ADMINISTER),
        previewed("maintain-storage", "Maintenance ...", ADMINISTER),
        previewed("fail-storage", "Declare failed ...", ADMINISTER),
        previewed("delete-storage", "Delete ...", ADMINISTER),
    )

    def prepare(self, rows: Sequence[Any]) -> None:
        disks = Disk.objects.filter(server__in=rows).values_list("server")
        counts = dict(disks.annotate(Count("pk")).order_by())
        sums = capacity.of_servers()
        rebuilds, cared = tree.rebuilds_by_storage(), care.under_way()
        sparks = charts.sparks(charts.Kind.STORAGE, [row.pk for row in rows])
        for row in rows:
            row.spark = sparks.get(row.pk)
            row.disk_number = counts.get(row.pk, 0)
            row.sums = sums.get(row.pk, capacity.NO_ROOM)
            row.care = care.of_server(cared, row.pk)
            row.rebuilds = rebuilds.get(row.pk, 0)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return hardware_pages.show_storage(request, object_id)

    @admin.display(description="Disks", ordering=sort_orders.STORAGE_DISKS)
    def disk_count(self, row: Any) -> int:
        return int(row.disk_number)

    @admin.display(description="Used", ordering=sort_orders.STORAGE_USED)
    def usage(self, row: Any) -> SafeString:
        return used_bar(row.sums.capacity, row.sums.free, row.sums.allocatable)

    @admin.display(description="State", ordering=sort_orders.STORAGE_HEALTH)
    def state(self, row: Any) -> Pill:
        return place_pill(row.priority, row.silent_since, row.care, row.rebuilds)

    @admin.display(description="Resync")
    def resync(self, row: Any) -> int:
        return int(row.rebuilds)


class DiskList(Listing):
    """Disks with their room."""

    list_display = ("disk", "state", "on_server", "local_path", "tags", "usage", "resync")
    list_filter = ("priority", "server")
    list_select_related = ("server",)
    search_fields = ("local_path", "disk_uuid", "tags")
    ordering = ("pk",)
    actions = (
        previewed("evacuate-disk", "Evacuate ...", ADMINISTER),
        previewed("return-disk", "Return to service ...", ADMINISTER),
        previewed("maintain-disk", "Maintenance ...", ADMINISTER),
        previewed("fail-disk", "Declare failed ...", ADMINISTER),
        previewed("delete-disk", "Delete ...", ADMINISTER),
    )

    def prepare(self, rows: Sequence[Any]) -> None:
        usages = capacity.of_disks([row.pk for row in rows])
        rebuilds, cared = tree.rebuilds_by_disk(), care.under_way()
        for row in rows:
            row.care = care.of_disk(cared, row.pk, row.server_id)
            row.room = usages.get(row.pk, capacity.Usage())
            row.rebuilds = rebuilds.get(row.pk, 0)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return hardware_pages.show_disk(request, object_id)

    @admin.display(description="Disk", ordering="pk")
    def disk(self, row: Disk) -> SafeString:
        return named(str(row), size(row.capacity_gb))

    @admin.display(description="State", ordering=sort_orders.DISK_HEALTH)
    def state(self, row: Any) -> Pill:
        return place_pill(row.priority, None, row.care, row.rebuilds)

    @admin.display(description="Server", ordering="server__name")
    def on_server(self, row: Disk) -> SafeString | str:
        return link(row.server, row.server.label)

    @admin.display(description="Used", ordering=sort_orders.DISK_USED)
    def usage(self, row: Any) -> SafeString:
        return used_bar(row.room.capacity, row.room.free)

    @admin.display(description="Resync")
    def resync(self, row: Any) -> int:
        return int(row.rebuilds)


class ExtentList(Listing):
    """Every range of every disk."""

    list_display = ("__str__", "state", "on_disk", "begins", "gb", "generation", "of_volume")
    list_filter = ("status",)
    list_select_related = ("disk", "replica__mirror__volume")
    search_fields = ("disk__local_path",)
    ordering = ("pk",)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return hardware_pages.lead_from_extent(object_id)

    @admin.display(description="Status", ordering="status")
    def state(self, row: Extent) -> Pill:
        return EXTENTS[Extent.Status(row.status)]

    @admin.display(description="Disk", ordering="disk")
    def on_disk(self, row: Extent) -> SafeString | str:
        return link(row.disk)

    @admin.display(description="Begins at", ordering="offset_gb")
    def begins(self, row: Extent) -> str:
        return size(row.offset_gb)

    @admin.display(description="Size", ordering="size_gb")
    def gb(self, row: Extent) -> str:
        return size(row.size_gb)

    @admin.display(description="Volume")
    def of_volume(self, row: Extent) -> SafeString | str:
        replica = getattr(row, "replica", None)
        return link(replica.mirror.volume, replica.mirror.volume.name) if replica else NOTHING
