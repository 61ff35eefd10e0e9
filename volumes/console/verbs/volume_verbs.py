"""What may be done to volumes."""

from collections.abc import Collection
from typing import Any, NamedTuple

from django import forms
from django.db.models import Q
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from inventory.errors import Refused
from inventory.models import ALIVE, HeadServer
from volumes.attach import attach, detach
from volumes.console.frame.permissions import Right
from volumes.console.verbs.verb import Rows, Verb, Wish
from volumes.lifecycle import snapshots, volumes
from volumes.models import Attachment, Job, LogicalVolume

MANY = 1000
HOW = {
    Attachment.State.BINDING: "being attached to {}",
    Attachment.State.BOUND: "attached to {}",
    Attachment.State.UNBINDING: "being detached from {}",
    Attachment.State.ERROR: "in error on {}",
}
"""How a volume is, in a sentence."""


class AttachForm(forms.Form):
    """To which head, and whether a replica that cannot be read may be left out."""

    head = forms.ModelChoiceField(
        HeadServer.objects.none(), label="Head server", widget=UnfoldAdminSelectWidget
    )
    force = forms.BooleanField(
        required=False,
        label="Force",
        widget=UnfoldBooleanWidget,
        help_text="Attach even if a replica that cannot be read now may hold the newest data.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        heads = HeadServer.objects.filter(priority__in=ALIVE).order_by("pk")
        self.fields["head"].queryset = heads  # type: ignore[attr-defined]  # ModelChoiceField
        if len(found := heads[:2]) == 1:
            self.fields["head"].initial = found[0].pk


class SnapshotForm(forms.Form):
    """What the snapshot is called."""

    name = forms.CharField(max_length=64, label="Name", widget=UnfoldAdminTextInputWidget)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        try:
            volumes.check_name(name)
        except Refused as refusal:
            raise forms.ValidationError(str(refusal)) from None
        return name


# -- what is done ---------------------------------------------------------------------------------


def _attach(volume: LogicalVolume, wish: Wish) -> Job:
    head, force = wish.values["head"], wish.values["force"]
    return attach.request_attach(volume, head.pk, force=force)


def _detach(volume: LogicalVolume, _: Wish) -> Job | None:
    return detach.request_detach(volume)


def _snapshot(volume: LogicalVolume, wish: Wish) -> Job | None:
    name = wish.values["name"]
    return snapshots.create_snapshot(origin=volume, name=name)[1]


def _delete(volume: LogicalVolume, _: Wish) -> Job | None:
    if volume.origin_id:
        return snapshots.delete_snapshot(volume)
    return volumes.delete_volume(volume)


# -- what would be refused ------------------------------------------------------------------------


class _Attached(NamedTuple):
    state: str
    head: HeadServer


def _how(attached: _Attached) -> str:
    """Say how it is, and where."""
    return HOW[Attachment.State(attached.state)].format(attached.head.label)


def _states(rows: Rows) -> dict[int, _Attached]:
    """Read the attachments of the groups to which volumes belong."""
    groups = {volume.origin_id or volume.pk for volume in rows}
    some = Attachment.objects.filter(_among("volume", groups))
    heads = HeadServer.objects.in_bulk()
    found = some.values_list("volume_id", "state", "head_id")
    return {pk: _Attached(state, heads[head]) for pk, state, head in found if pk in groups}


def _among(member: str, numbers: Collection[int]) -> Q:
    """Choose by number; where there are many, to read all of them costs less."""
    return Q(**{f"{member}__in": numbers}) if len(numbers) < MANY else Q()


def _refuse_attach(rows: Rows) -> dict[int, str]:
    states = _states(rows)
    said = {v.pk: "a snapshot is attached together with its origin" for v in rows if v.origin_id}
    for pk, attached in states.items():
        said.setdefault(pk, f"it is {_how(attached)} already")
    return said


def _refuse_detach(rows: Rows) -> dict[int, str]:
    states = _states(rows)
    said = {v.pk: "a snapshot is detached together with its origin" for v in rows if v.origin_id}
    for volume in rows:
        attached = states.get(volume.pk)
        if attached is None:
            said.setdefault(volume.pk, "it is not attached")
        elif attached.state in (Attachment.State.BINDING, Attachment.State.UNBINDING):
            said[volume.pk] = f"it is {_how(attached)} now: wait for the job to end"
    return said


def _refuse_snapshot(rows: Rows) -> dict[int, str]:
    states = _states(rows)
    said = {v.pk: "it is itself a snapshot" for v in rows if v.origin_id}
    for pk, attached in states.items():
        if attached.state != Attachment.State.BOUND:
            said.setdefault(pk, f"it is {_how(attached)}")
    return said


def _refuse_delete(rows: Rows) -> dict[int, str]:
    states = _states(rows)
    children = LogicalVolume.objects.filter(_among("origin", [row.pk for row in rows]))
    named = children.exclude(origin=None).values_list("origin", "name")
    said = {origin: f"it has snapshots: {name}" for origin, name in named if origin}
    for volume in rows:
        attached = states.get(volume.origin_id or volume.pk)
        if attached is None:
            continue
        if not volume.origin_id:
            said[volume.pk] = f"it is {_how(attached)}: detach it first"
        elif attached.state != Attachment.State.BOUND:
            said[volume.pk] = f"its origin is {_how(attached)}"
    return said


# -- what is touched ------------------------------------------------------------------------------


def _detach_hits(rows: Rows) -> list[str]:
    names = {volume.pk: str(volume) for volume in rows}
    return [
        f"{names[pk]} disappears from {attached.head.label}; programs must have closed it"
        for pk, attached in _states(rows).items()
    ]


def _names(rows: Rows) -> list[str]:
    return [volume.name for volume in rows]


VERBS = [
    Verb(
        name="attach",
        explains=True,
        title="Attach",
        promise="The volume and its snapshots appear under /dev/vas on the head server.",
        icon="link",
        model=LogicalVolume,
        do=_attach,
        form=AttachForm,
        refuse=_refuse_attach,
    ),
    Verb(
        name="detach",
        explains=True,
        title="Detach",
        promise="The volume and its snapshots are detached from their head server.",
        icon="link_off",
        model=LogicalVolume,
        do=_detach,
        refuse=_refuse_detach,
        hits=_detach_hits,
    ),
    Verb(
        name="snapshot",
        explains=True,
        title="Snapshot",
        promise="The volume as it is at this moment is kept, readable, under a name of its own.",
        icon="photo_camera",
        model=LogicalVolume,
        do=_snapshot,
        form=SnapshotForm,
        refuse=_refuse_snapshot,
        one_only=True,
    ),
    Verb(
        name="delete-volume",
        explains=True,
        title="Delete",
        promise="All replicas are given up and shredded. Nothing brings the data back.",
        icon="delete",
        model=LogicalVolume,
        do=_delete,
        right=Right.OPERATE,
        refuse=_refuse_delete,
        at_stake=_names,
        danger=True,
    ),
]
