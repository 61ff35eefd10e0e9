"""The audit log: who changed what and by which way, written in the transaction of the change."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction

from inventory.models import AuditEntry

Way = AuditEntry.Way


class Action(StrEnum):
    """Everything that is written down; one request is one row, whatever it sets in motion."""

    REGISTER_HEAD = "register_head"
    REGISTER_STORAGE = "register_storage"
    REGISTER_DISK = "register_disk"
    MOVE_SERVER = "move_server"
    RENAME_SERVER = "rename_server"
    FORGET_NODE = "forget_node"
    INVITE_NODE = "invite_node"
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
    START_MAINTENANCE = "start_maintenance"
    PAUSE_JOB = "pause_job"
    RESUME_JOB = "resume_job"
    RETRY_JOB = "retry_job"
    CANCEL_JOB = "cancel_job"
    FORCE_JOB = "force_job"
    SCRUB_VOLUME = "scrub_volume"
    PAUSE_SCRUBS = "pause_scrubs"
    RESUME_SCRUBS = "resume_scrubs"
    MEND_BLOCK = "mend_block"
    ACKNOWLEDGE = "acknowledge"
    END_ACKNOWLEDGEMENT = "end_acknowledgement"
    CREATE_TOKEN = "create_token"  # noqa: S105  the name of an action
    REVOKE_TOKEN = "revoke_token"  # noqa: S105
    BIND_TOKEN = "bind_token"  # noqa: S105
    ADD_USER = "add_user"
    CHANGE_USER = "change_user"
    DELETE_USER = "delete_user"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and by which way in."""

    name: str
    way: Way


SYSTEM = Actor("system", Way.SYSTEM)

_acting: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)


@contextmanager
def acting_as(name: str, way: Way) -> Iterator[None]:
    """Let everything that is done in here be written down under this name."""
    before = _acting.set(Actor(name, way))
    try:
        yield
    finally:
        _acting.reset(before)


def actor() -> Actor:
    """Tell for whom this thread works; the system itself unless an edge said otherwise."""
    return _acting.get()


def record(action: Action, subject: object, detail: str = "") -> None:
    """Write one row that exists exactly when the change does: in the caller's transaction."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(f"{action} is written down in no transaction")
    who = _acting.get()
    AuditEntry.objects.create(
        actor=who.name[:150], way=who.way, verb=action, subject=str(subject)[:200], detail=detail
    )
