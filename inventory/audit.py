"""The audit log: who changed what and by which way, written in the transaction of the change."""

from enum import StrEnum

from django.db import transaction

from inventory import events
from inventory.actors import SYSTEM, Actor, Entrance, acting_as, actor
from inventory.models import AuditEntry, EventEntry

__all__ = ["EVENTS", "SYSTEM", "Action", "Actor", "Entrance", "acting_as", "actor", "record"]

Kind, Severity = EventEntry.Kind, EventEntry.Severity


class Action(StrEnum):
    """Everything that is written down; one request is one row, whatever it sets in motion."""

    REGISTER_HEAD = "register_head"
    REGISTER_STORAGE = "register_storage"
    REGISTER_DISK = "register_disk"
    MOVE_SERVER = "move_server"
    RENAME_SERVER = "rename_server"
    FORGET_NODE = "forget_node"
    INVITE_NODE = "invite_node"
    REVOKE_INVITATION = "revoke_invitation"
    JOIN_NODE = "join_node"
    RENEW_NODE = "renew_node"
    RENAME_MEMBER = "rename_member"
    REMOVE_MEMBER = "remove_member"
    DELETE_HEAD = "delete_head"
    DELETE_STORAGE = "delete_storage"
    DELETE_DISK = "delete_disk"
    CREATE_VOLUME = "create_volume"
    DELETE_VOLUME = "delete_volume"
    CREATE_SNAPSHOT = "create_snapshot"
    DELETE_SNAPSHOT = "delete_snapshot"
    BREAK_SNAPSHOT = "break_snapshot"
    ATTACH = "attach"
    DETACH = "detach"
    FENCE = "fence"
    FAIL_HEAD = "fail_head"
    LOSE_HEAD = "lose_head"
    FAIL_STORAGE = "fail_storage"
    FAIL_DISK = "fail_disk"
    LOSE_DISK = "lose_disk"
    TAKE_BACK_FAILURE = "take_back_failure"
    FAIL_REPLICA = "fail_replica"
    REPORT_BAD_BLOCKS = "report_bad_blocks"
    FINISH_SHRED = "finish_shred"
    FINISH_REBUILD = "finish_rebuild"
    SHUT_DOWN = "shut_down"
    RESUME = "resume"
    BEGIN_RECOVERY = "begin_recovery"
    END_RECOVERY = "end_recovery"
    RECOVER_VOLUME = "recover_volume"
    EXCLUDE_NODES = "exclude_nodes"
    RELEASE = "release_quarantine"
    RESTORE = "restore"
    START_EVACUATION = "start_evacuation"
    RETURN_TO_SERVICE = "return_to_service"
    START_MAINTENANCE = "start_maintenance"
    PAUSE_JOB = "pause_job"
    RESUME_JOB = "resume_job"
    RETRY_JOB = "retry_job"
    CANCEL_JOB = "cancel_job"
    FORCE_JOB = "force_job"
    START_BATCH = "start_batch"
    SCRUB_VOLUME = "scrub_volume"
    PAUSE_SCRUBS = "pause_scrubs"
    RESUME_SCRUBS = "resume_scrubs"
    MEND_BLOCK = "mend_block"
    ACKNOWLEDGE = "acknowledge"
    END_ACKNOWLEDGEMENT = "end_acknowledgement"
    CREATE_TOKEN = "create_token"  # noqa: S105  the name of an action
    REVOKE_TOKEN = "revoke_token"  # noqa: S105
    BIND_TOKEN = "bind_token"  # noqa: S105
    ADD_WEBHOOK = "add_webhook"
    REMOVE_WEBHOOK = "remove_webhook"
    ADD_USER = "add_user"
    CHANGE_USER = "change_user"
    DELETE_USER = "delete_user"
    TAKE_SUPPORT_BUNDLE = "take_support_bundle"


EVENTS: dict[Action, tuple[EventEntry.Kind, EventEntry.Severity]] = {
    Action.REGISTER_HEAD: (Kind.UP, Severity.INFO),
    Action.REGISTER_STORAGE: (Kind.UP, Severity.INFO),
    Action.REGISTER_DISK: (Kind.UP, Severity.INFO),
    Action.MOVE_SERVER: (Kind.CHANGED, Severity.INFO),
    Action.RENAME_SERVER: (Kind.CHANGED, Severity.INFO),
    Action.FORGET_NODE: (Kind.CHANGED, Severity.INFO),
    Action.DELETE_HEAD: (Kind.DELETED, Severity.INFO),
    Action.DELETE_STORAGE: (Kind.DELETED, Severity.INFO),
    Action.DELETE_DISK: (Kind.DELETED, Severity.INFO),
    Action.CREATE_VOLUME: (Kind.CREATED, Severity.INFO),
    Action.DELETE_VOLUME: (Kind.DELETED, Severity.INFO),
    Action.CREATE_SNAPSHOT: (Kind.CREATED, Severity.INFO),
    Action.DELETE_SNAPSHOT: (Kind.DELETED, Severity.INFO),
    Action.BREAK_SNAPSHOT: (Kind.BROKEN, Severity.ERROR),
    Action.ATTACH: (Kind.ATTACHING, Severity.INFO),
    Action.DETACH: (Kind.DETACHING, Severity.INFO),
    Action.FENCE: (Kind.FENCING, Severity.WARNING),
    Action.FAIL_HEAD: (Kind.FAILED, Severity.ERROR),
    Action.LOSE_HEAD: (Kind.OFFLINE, Severity.ERROR),
    Action.FAIL_STORAGE: (Kind.OFFLINE, Severity.ERROR),
    Action.FAIL_DISK: (Kind.FAILED, Severity.ERROR),
    Action.LOSE_DISK: (Kind.OFFLINE, Severity.ERROR),
    Action.TAKE_BACK_FAILURE: (Kind.TAKEN_BACK, Severity.INFO),
    Action.REPORT_BAD_BLOCKS: (Kind.BAD_BLOCKS, Severity.WARNING),
    Action.SHUT_DOWN: (Kind.SHUT_DOWN, Severity.WARNING),
    Action.RESUME: (Kind.RESUMED, Severity.INFO),
    Action.BEGIN_RECOVERY: (Kind.RECOVERY_BEGUN, Severity.ERROR),
    Action.END_RECOVERY: (Kind.RECOVERY_ENDED, Severity.INFO),
    Action.RECOVER_VOLUME: (Kind.RECOVERED, Severity.INFO),
    Action.EXCLUDE_NODES: (Kind.CHANGED, Severity.WARNING),
    Action.RELEASE: (Kind.RELEASED, Severity.WARNING),
    Action.RESTORE: (Kind.RESTORED, Severity.WARNING),
    Action.START_EVACUATION: (Kind.DRAINING, Severity.INFO),
    Action.RETURN_TO_SERVICE: (Kind.CHANGED, Severity.INFO),
    Action.START_MAINTENANCE: (Kind.MAINTENANCE_BEGUN, Severity.INFO),
    Action.PAUSE_JOB: (Kind.JOB_STEERED, Severity.INFO),
    Action.RESUME_JOB: (Kind.JOB_STEERED, Severity.INFO),
    Action.RETRY_JOB: (Kind.JOB_STEERED, Severity.INFO),
    Action.CANCEL_JOB: (Kind.JOB_STEERED, Severity.INFO),
    Action.FORCE_JOB: (Kind.JOB_STEERED, Severity.WARNING),
    Action.PAUSE_SCRUBS: (Kind.CHANGED, Severity.INFO),
    Action.RESUME_SCRUBS: (Kind.CHANGED, Severity.INFO),
    Action.MEND_BLOCK: (Kind.MENDING, Severity.INFO),
}
"""What the audited changes are as events. Of replicas it is told by their volumes."""


def record(action: Action, subject: object, detail: str = "", *, job: int | None = None) -> None:
    """Write one row that exists exactly when the change does: in the caller's transaction.

    What changes the state of something is an event as well, in the same transaction.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(f"{action} is written down in no transaction")
    who = actor()
    entry = AuditEntry.objects.create(
        actor=who.name[:150], way=who.way, verb=action, subject=str(subject)[:200], detail=detail
    )
    if told := EVENTS.get(action):
        events.tell(*told, subject, _cause(told[0], action, detail), job=job, audit=entry)


def _cause(kind: EventEntry.Kind, action: Action, detail: str) -> str:
    """Say what was done where neither the kind of the event nor the detail does."""
    words = action.replace("_", " ")
    if kind in {Kind.CHANGED, Kind.JOB_STEERED} and detail:
        return f"{words}: {detail}"
    return detail or words
