"""The nouns cluster, token, backup and event, and any method by its name."""

from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from vastsky_client import operands
from vastsky_client.api import pages, structs
from vastsky_client.command import json_rows, words
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun

ROLES = ("reader", "monitor", "operator", "agent", "admin")


def show_cluster(session: Session, _: Namespace) -> structs.ClusterInfo:
    """Tell who the cluster is and how it is."""
    return session.manager.cluster_info()


def shut_down(session: Session, _: Namespace) -> None:
    """Take every server out of service."""
    session.manager.shutdown_all()


def resume(session: Session, _: Namespace) -> json_rows.Resumed:
    """Let servers register again."""
    return {"servers": session.manager.resume()}


def orphans(session: Session, _: Namespace) -> list[structs.Orphan]:
    """List what nodes hold that the database does not understand, all pages of it."""
    return list(pages(session.manager.list_orphans, "id"))


def call(session: Session, given: Namespace) -> Any:
    """Call a method of the API by its name."""
    return session.manager.call(given.method, **dict(given.member or ()))


# -- tokens, backups ------------------------------------------------------------------------------


def list_tokens(session: Session, _: Namespace) -> list[structs.Token]:
    """List all tokens."""
    return session.ask(session.manager.list_tokens)


def create_token(session: Session, given: Namespace) -> json_rows.Secret:
    """Make a token."""
    bound: dict[str, int] = {}
    if given.head:
        bound |= session.names.server(given.head, ["hsvrid"])
    if given.storage:
        bound |= session.names.server(given.storage, ["ssvrid"])
    token = session.ask(
        lambda: session.manager.create_token(name=given.name, role=given.role, **bound)
    )
    return {"name": given.name, "token": token}


def revoke_token(session: Session, given: Namespace) -> None:
    """Refuse a token from its next call on."""
    session.ask(lambda: session.manager.revoke_token(name=given.name))


def show_backup(session: Session, _: Namespace) -> json_rows.Backup:
    """Tell when the last backup was written."""
    return {"backed_up": session.manager.cluster_info().get("backed_up", "")}


def methods(session: Session) -> Iterable[str]:
    """Name the methods of the manager."""
    return session.manager.list_methods()


CLUSTER = Noun(
    "cluster",
    "the cluster as a whole",
    (
        Command(
            "cluster", "show", "Show releases, and whether the cluster is in recovery mode.",
            "cluster show", show_cluster, returns=structs.ClusterInfo,
            columns=(
                Column("CLUSTER", lambda row: row["cluster"]),
                Column("RELEASE", lambda row: row.get("version", "-")),
                Column("AGENTS", lambda row: ", ".join(
                    f"{agents['count']} of {agents['version'] or 'an older release'}"
                    for agents in row.get("agents", [])
                ) or "-"),
                Column("RECOVERY", lambda row: row.get("recovery") or "-"),
                Column("LAST BACKUP", lambda row: row.get("backed_up") or "-"),
            ),
            methods=("vastsky.clusterInfo",),
        ),
        Command(
            "cluster", "orphans", "List what nodes hold that the database does not understand.",
            "cluster orphans", orphans, returns=list[structs.Orphan],
            columns=(
                Column("KIND", lambda row: row["kind"]),
                Column("NAME", lambda row: row["name"]),
                Column("WHY", lambda row: row["reason"]),
            ),
            methods=("vastsky.listOrphans",),
        ),
        Command(
            "cluster", "shutdown",
            "Take every server out of service; nothing may be attached.", "cluster shutdown",
            shut_down, methods=("shutdownAll",),
        ),
        Command(
            "cluster", "resume", "Let the servers register again that were shut down.",
            "cluster resume", resume, returns=json_rows.Resumed,
            line=lambda row: f"{row['servers']} servers may register again",
            methods=("vastsky.resume",),
        ),
        Command(
            "cluster", "call",
            "Call any method of the API, such as those by which nodes and monitors report.",
            "cluster call notifyShredFinished dextid:=20", call,
            (
                Argument("METHOD", "the name of a method", operands.name, methods),
                Argument("MEMBER", "NAME=TEXT, NAME:=NUMBER or NAME:=NUMBER,NUMBER",
                         words.member,
                         optional=True, many=True),
            ),
            returns=object,
            methods=("registerHeadServer", "registerStorageServer", "registerPhysicalDisk",
                     "notifyShredFinished", "notifyRebuildMirrorFinished"),
        ),
    ),
)  # fmt: skip

TOKEN = Noun(
    "token",
    "tokens with which programs call the API",
    (
        Command(
            "token", "list", "List all tokens; the tokens themselves are nowhere.", "token list",
            list_tokens, returns=list[structs.Token],
            columns=(
                Column("NAME", lambda row: row["name"]),
                Column("ROLE", lambda row: row["role"]),
                Column("LAST USED", lambda row: row["last_used"] or "never"),
                Column("REVOKED", lambda row: row["revoked"] or "-"),
                Column("MADE BY", lambda row: row["created_by"]),
            ),
            methods=("vastsky.listTokens",),
        ),
        Command(
            "token", "create", "Make a token and print it, which nobody can see again.",
            "token create backup operator", create_token,
            (
                Argument("NAME", "up to 64 of -._a-zA-Z0-9; no token ever had it", operands.name),
                Argument("ROLE", "what it may be used for", choices=ROLES),
                Argument("--head", "the head server an agent speaks for", suggest=words.heads),
                Argument("--storage", "the storage server an agent speaks for",
                         suggest=words.storages),
            ),
            returns=json_rows.Secret, line=lambda row: row["token"],
            methods=("vastsky.createToken",),
        ),
        Command(
            "token", "revoke", "Refuse a token from its next call on.", "token revoke backup",
            revoke_token, (words.TOKEN,), methods=("vastsky.revokeToken",),
        ),
    ),
)  # fmt: skip

BACKUP = Noun(
    "backup",
    "backups of the manager's database; `vastsky-manage backup` makes one, on a manager",
    (
        Command(
            "backup", "show", "Show when the last backup was written.", "backup show",
            show_backup, returns=json_rows.Backup,
            line=lambda row: row["backed_up"] or "the manager does not tell",
            methods=("vastsky.clusterInfo",),
        ),
    ),
)  # fmt: skip
