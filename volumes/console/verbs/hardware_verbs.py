"""What may be done to servers and disks, and to the cluster as a whole."""

from collections.abc import Callable
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from inventory import names, registration, servers
from inventory.models import ALIVE, USABLE, Cluster, Disk, HeadServer, Priority, StorageServer
from volumes.console.frame.permissions import Right
from volumes.console.frame.pills import DRAINED, server_pill
from volumes.console.verbs import hardware_hits
from volumes.console.verbs.verb import Rows, Verb, Wish
from volumes.models import Attachment, Job, Replica
from volumes.repair import drain, failures, retraction

DOWN = "it is {} already"
CARED = {
    Job.Kind.EVACUATE: "its evacuation is under way",
    Job.Kind.MAINTENANCE: "its maintenance is under way",
}


class MaintenanceForm(forms.Form):
    """For how long the place is left alone."""

    minutes = forms.IntegerField(
        min_value=1,
        max_value=7 * 24 * 60,
        initial=60,
        label="Minutes",
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="1 minute to 7 days (10080 minutes); it may be ended earlier.",
    )


class RenameForm(forms.Form):
    """What the server is called from now on."""

    name = forms.RegexField(
        names.NAME,
        required=False,
        label="Name",
        widget=UnfoldAdminTextInputWidget,
        help_text="Up to 64 of -._a-zA-Z0-9; empty: as its host.",
    )


# -- what is done ---------------------------------------------------------------------------------


def _fail_head(head: HeadServer, _: Wish) -> None:
    failures.fail_head(head.pk)


def _fail_storage(server: StorageServer, _: Wish) -> None:
    failures.fail_storage(server.pk)


def _fail_disk(disk: Disk, _: Wish) -> None:
    failures.fail_disk(disk.pk)


def _evacuate(place: StorageServer | Disk, _: Wish) -> Job:
    return drain.start_evacuation(place)


def _return(place: StorageServer | Disk, _: Wish) -> None:
    drain.return_to_service(place)


def _maintain(place: StorageServer | Disk, wish: Wish) -> Job:
    return drain.start_maintenance(place, wish.values["minutes"])


def _forget_node(server: HeadServer | StorageServer, _: Wish) -> None:
    registration.forget_node(server)


def _rename(server: HeadServer | StorageServer, wish: Wish) -> None:
    names.rename(server, wish.values["name"])


def _take_back(place: StorageServer | Disk, _: Wish) -> None:
    retraction.take_back(place)


def _shut_down(_: Cluster, __: Wish) -> None:
    failures.shut_down()


def _start_again(_: Cluster, __: Wish) -> None:
    servers.resume()


# -- what would be refused ------------------------------------------------------------------------


def _states(rows: Rows) -> dict[int, str]:
    """Say how each is in the words of the lists: what is evacuated and has no job is drained."""
    said = {
        row.pk: server_pill(row.priority, getattr(row, "silent_since", None)).text for row in rows
    }
    evacuated = [row.pk for row in rows if row.priority == Priority.EVACUATE]
    if not evacuated:
        return said
    draining = Job.objects.filter(
        **{f"{_column(rows)}__in": evacuated}, kind=Job.Kind.EVACUATE, state=Job.State.OPEN
    ).values_list(_column(rows), flat=True)
    return said | dict.fromkeys(set(evacuated) - set(draining), DRAINED.text)


def _column(rows: Rows) -> str:
    """Name the column of a job that holds such a place."""
    return "disk" if isinstance(rows[0], Disk) else "server"


def _refuse_fail(rows: Rows) -> dict[int, str]:
    up = (*ALIVE, Priority.HALT)
    down = [row for row in rows if row.priority not in up]
    waited = hardware_hits.waited_for(down)
    over = [row for row in down if row.pk not in waited]
    return {pk: DOWN.format(state) for pk, state in _states(over).items()}


def _refuse_forget_node(rows: Rows) -> dict[int, str]:
    no = "its node never said who it is: whoever has its addresses is it anyhow"
    return {row.pk: no for row in rows if not row.node_uuid}


def _refuse_evacuate(rows: Rows) -> dict[int, str]:
    no = "it is {}: only what is up is evacuated"
    others = [row for row in rows if row.priority not in USABLE]
    return {pk: no.format(state) for pk, state in _states(others).items()}


def _refuse_return(rows: Rows) -> dict[int, str]:
    no = "it is {}: only what is drained is returned to service"
    others = [row for row in rows if row.priority != Priority.EVACUATE]
    return {pk: no.format(state) for pk, state in _states(others).items()}


def _refuse_maintain(rows: Rows) -> dict[int, str]:
    said = {row.pk: "it is faulty: replace it" for row in rows if row.priority == Priority.FAULTY}
    if not rows:
        return said
    where = _column(rows)
    care = Job.objects.filter(kind__in=drain.CARE, state=Job.State.OPEN)
    busy = care.filter(**{f"{where}__in": [row.pk for row in rows]}).values_list(where, "kind")
    return said | {pk: CARED[Job.Kind(kind)] for pk, kind in busy}


def _refuse_delete(rows: Rows) -> dict[int, str]:
    no = "it is {}: only what is offline or faulty is deleted"
    kept = [row for row in rows if row.priority not in servers.DELETABLE]
    said = {pk: no.format(state) for pk, state in _states(kept).items()}
    for row in rows:
        if isinstance(row, HeadServer):
            count = Attachment.objects.filter(head=row).count()
            what = f"{_are(count, 'volume')} attached there"
        else:
            count = Replica.objects.filter(hardware_hits.place_of([row])).count()
            what = f"{_are(count, 'replica')} still on it"
        if count:
            said.setdefault(row.pk, what)
    return said


def _refuse_shutdown(rows: Rows) -> dict[int, str]:
    attached = Attachment.objects.count()
    return {rows[0].pk: f"{_are(attached, 'volume')} attached"} if attached and rows else {}


def _are(count: int, thing: str) -> str:
    return f"{count} {thing} is" if count == 1 else f"{count} {thing}s are"


def _refuse_start(rows: Rows) -> dict[int, str]:
    return {} if servers.count_halted() else {row.pk: "no server is shut down" for row in rows}


# -- the table ------------------------------------------------------------------------------------


def _fail(name: str, model: Any, do: Callable[..., None], promise: str, **more: Any) -> Verb:
    return Verb(
        name=name,
        title="Declare failed",
        promise=promise,
        icon="heart_broken",
        model=model,
        do=do,
        right=Right.ADMINISTER,
        refuse=_refuse_fail,
        asks=str,
        danger=True,
        **more,
    )


def _care(kind: str, model: type[StorageServer] | type[Disk]) -> list[Verb]:
    return [
        Verb(
            name=f"maintain-{kind}",
            explains=True,
            title="Maintenance",
            promise="Nothing new lands there, and its silence replaces no replica, until the "
            "time is over.",
            icon="build",
            model=model,
            do=_maintain,
            right=Right.ADMINISTER,
            form=MaintenanceForm,
            refuse=_refuse_maintain,
        ),
        Verb(
            name=f"take-back-{kind}",
            title="It was fine",
            promise="That it was declared failed is taken back: what was not replaced yet is "
            "caught up instead.",
            icon="undo",
            model=model,
            do=_take_back,
            right=Right.ADMINISTER,
            refuse=retraction.why_not,
            hits=hardware_hits.of_taking_back,
        ),
        Verb(
            name=f"evacuate-{kind}",
            explains=True,
            title="Evacuate",
            promise="Every replica moves elsewhere; it serves on until it is empty.",
            icon="move_up",
            model=model,
            do=_evacuate,
            right=Right.ADMINISTER,
            refuse=_refuse_evacuate,
            hits=hardware_hits.of_evacuation,
        ),
        Verb(
            name=f"return-{kind}",
            title="Return to service",
            promise="It takes new data again. What was moved away stays where it is now.",
            icon="assignment_return",
            model=model,
            do=_return,
            right=Right.ADMINISTER,
            refuse=_refuse_return,
            hits=hardware_hits.of_return,
        ),
    ]


def _forget(name: str, model: Any, do: Callable[[int], None]) -> Verb:
    return Verb(
        name=name,
        explains=True,
        title="Delete",
        promise="It is forgotten. If it registers again it gets a new id.",
        icon="delete",
        model=model,
        do=lambda row, _: do(row.pk),
        right=Right.ADMINISTER,
        refuse=_refuse_delete,
        hits=hardware_hits.of_deletion,
        asks=str,
        danger=True,
    )


def _forget_the_node(kind: str, model: type[HeadServer] | type[StorageServer]) -> Verb:
    return Verb(
        name=f"forget-node-{kind}",
        title="Forget its node",
        promise="Whichever node registers next at its addresses is this server: one that lost its"
        " state folder, or a machine in its place.",
        icon="person_off",
        model=model,
        do=_forget_node,
        right=Right.ADMINISTER,
        refuse=_refuse_forget_node,
        danger=True,
    )


def _rename_verb(kind: str, model: type[HeadServer] | type[StorageServer]) -> Verb:
    return Verb(
        name=f"rename-{kind}",
        title="Rename",
        promise="People see it under another name; its id stays, and so does all that runs.",
        icon="edit",
        model=model,
        do=_rename,
        right=Right.ADMINISTER,
        form=RenameForm,
        one_only=True,
    )


VERBS = [
    *_care("storage", StorageServer),
    *_care("disk", Disk),
    _fail(
        "fail-head",
        HeadServer,
        _fail_head,
        "The head is out of service; its volumes are fenced off and detached.",
        hits=hardware_hits.of_head_failure,
    ),
    _fail(
        "fail-storage",
        StorageServer,
        _fail_storage,
        "The server and its disks are out of service; their replicas are replaced at once.",
        hits=hardware_hits.of_failure,
        at_stake=hardware_hits.last_replicas,
    ),
    _fail(
        "fail-disk",
        Disk,
        _fail_disk,
        "The disk is out of service for good; its replicas are replaced at once.",
        hits=hardware_hits.of_failure,
        at_stake=hardware_hits.last_replicas,
    ),
    _rename_verb("head", HeadServer),
    _rename_verb("storage", StorageServer),
    _forget_the_node("head", HeadServer),
    _forget_the_node("storage", StorageServer),
    _forget("delete-head", HeadServer, servers.delete_head),
    _forget("delete-storage", StorageServer, servers.delete_storage),
    _forget("delete-disk", Disk, servers.delete_disk),
    Verb(
        name="shutdown",
        title="Shut down the cluster",
        promise="Every server is out of service until its agent is started anew, or you choose"
        " Start again.",
        icon="power_settings_new",
        model=Cluster,
        do=_shut_down,
        right=Right.ADMINISTER,
        refuse=_refuse_shutdown,
        hits=hardware_hits.of_shutdown,
        danger=True,
    ),
    Verb(
        name="start-again",
        title="Start again",
        promise="Servers that were shut down may register again, with all that is on them.",
        icon="play_circle",
        model=Cluster,
        do=_start_again,
        refuse=_refuse_start,
        hits=hardware_hits.of_start,
    ),
]
