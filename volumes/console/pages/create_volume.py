"""Create a volume, seeing beforehand on which disks it would live, or why it cannot."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from inventory import recovery
from inventory.errors import NoSpace, Refused, TryAgain
from inventory.models import Disk
from volumes.console.frame.page import fragment, page, part_of, viewing
from volumes.console.frame.permissions import Right, may
from volumes.lifecycle import volumes
from volumes.models import LogicalVolume
from volumes.placement import allocation, policy
from volumes.placement.layout import mirror_sizes

MIRRORS_SHOWN = 8


class VolumeForm(forms.Form):
    """What a volume should be."""

    name = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="1 to 64 of -._a-zA-Z0-9; it appears under /dev/vas on its head server.",
    )
    capacity_gb = forms.IntegerField(
        min_value=volumes.CAPACITY_GB[0],
        max_value=volumes.CAPACITY_GB[-1],
        initial=10,
        label="Capacity in GiB",
        widget=UnfoldAdminIntegerFieldWidget,
    )
    redundancy = forms.IntegerField(
        min_value=volumes.REDUNDANCY[0],
        max_value=volumes.REDUNDANCY[-1],
        initial=3,
        label="Replicas",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Each on another server.",
    )
    tags = forms.CharField(
        max_length=256,
        required=False,
        label="Disk tags",
        widget=UnfoldAdminTextInputWidget,
        help_text="Only disks with all of these words, ssd for example.",
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        try:
            volumes.check_name(name)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)) from None
        if LogicalVolume.objects.filter(name=name).exists():
            raise forms.ValidationError(f"a volume named {name} exists")
        return name


@dataclass(frozen=True, slots=True)
class Preview:
    """Where the volume would be: its mirrors with the disks of their replicas, or why nowhere."""

    mirrors: list[tuple[int, list[Disk]]]
    mirror_count: int
    servers: int
    domains: int
    raw_gb: int
    why_not: str = ""
    must_wait: bool = False


@viewing
def create(request: HttpRequest) -> HttpResponse:
    """Show the form; create the volume once it is sent."""
    if not may(request.user, Right.OPERATE):
        raise PermissionDenied
    form = VolumeForm(request.POST or None, initial={"capacity_gb": 10, "redundancy": 3})
    if request.method == "POST" and form.is_valid():
        try:
            volume = volumes.create_volume(**form.cleaned_data)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, f"Volume {volume.name} is created.")
            return redirect("admin:volumes_logicalvolume_change", volume.pk)
    chosen = form.cleaned_data if form.is_bound and form.is_valid() else {}
    return page(
        request,
        "console/create.html",
        "New volume",
        form=form,
        preview=_preview(
            chosen.get("capacity_gb", 10), chosen.get("redundancy", 3), chosen.get("tags", "")
        ),
    )


@viewing
@part_of("console:create")
def preview(request: HttpRequest) -> HttpResponse:
    """Show where a volume as it is filled in so far would live; nothing is written."""
    if not may(request.user, Right.OPERATE):
        raise PermissionDenied
    form = VolumeForm(request.GET)
    form.is_valid()
    given: dict[str, Any] = form.cleaned_data
    if "capacity_gb" not in given or "redundancy" not in given:
        return fragment(request, "console/create_preview.html", preview=None)
    placed = _preview(given["capacity_gb"], given["redundancy"], given.get("tags", ""))
    return fragment(request, "console/create_preview.html", preview=placed)


def _preview(capacity_gb: int, redundancy: int, tags: str) -> Preview:
    try:
        recovery.refuse("creating a volume")
    except TryAgain as refusal:
        return Preview([], 0, 0, 0, 0, str(refusal), must_wait=True)
    rooms = allocation.rooms()
    try:
        placed = policy.place(rooms, mirror_sizes(capacity_gb), redundancy, tags=tags.split())
    except NoSpace as refusal:
        return Preview([], 0, 0, 0, 0, str(refusal))
    by_disk = {room.disk: room for room in rooms}
    used = {disk for mirror in placed for disk in mirror.disks}
    rows = Disk.objects.select_related("server").in_bulk(
        [disk for mirror in placed[:MIRRORS_SHOWN] for disk in mirror.disks]
    )
    return Preview(
        [(m.size_gb, [rows[disk] for disk in m.disks]) for m in placed[:MIRRORS_SHOWN]],
        len(placed),
        len({by_disk[disk].server for disk in used}),
        len({by_disk[disk].domain for disk in used}),
        sum(mirror.size_gb * len(mirror.disks) for mirror in placed),
    )
