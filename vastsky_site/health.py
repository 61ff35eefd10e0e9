"""What a load balancer asks: whether this web process can answer calls."""

import threading
from collections.abc import Callable
from http import HTTPStatus

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse

from inventory import recovery
from inventory.command_line import manage

PATH = "/healthz"
View = Callable[[HttpRequest], HttpResponse]

_migrated = threading.Event()


def health_first(get_response: View) -> View:
    """Middleware: answer /healthz to whoever asks, by whatever name or address, before all else.

    Who asks has neither a token nor the site's name. It is told no more than these words: "ok",
    "recovering: ..." (200: calls are answered, those that could harm with EAGAIN) or "not ready:
    ..." (503).
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        return _answer() if request.path_info == PATH else get_response(request)

    return middleware


def _answer() -> HttpResponse:
    try:
        if not _is_migrated():
            return _said(f"not ready: {manage('migrate')} has not been run for this version", 503)
        if recovery.why():
            return _said("recovering: the cluster is in recovery mode")
    except (DatabaseError, InterfaceError):
        return _said("not ready: the database does not answer", 503)
    return _said("ok")


def _said(words: str, status: int = HTTPStatus.OK) -> HttpResponse:
    answer = HttpResponse(f"{words}\n", "text/plain; charset=utf-8", status)
    answer["Cache-Control"] = "no-store"
    return answer


def _is_migrated() -> bool:
    """Tell whether the schema is this code's; once it is, it stays so."""
    if not _migrated.is_set() and not unapplied():
        _migrated.set()
    return _migrated.is_set()


def unapplied() -> list[str]:
    """Name the migrations that the database has not seen; DatabaseError if it cannot be asked."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
