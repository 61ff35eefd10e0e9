"""What was deleted: its page says when, and by whom."""

from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from inventory.audit import Action
from inventory.models import AuditEntry, Disk, HeadServer, StorageServer
from volumes.console.frame.page import ENOUGH, fragment, page
from volumes.models import LogicalVolume

DELETIONS: dict[type[Model], tuple[Action, ...]] = {
    LogicalVolume: (Action.DELETE_VOLUME, Action.DELETE_SNAPSHOT),
    HeadServer: (Action.DELETE_HEAD,),
    StorageServer: (Action.DELETE_STORAGE,),
    Disk: (Action.DELETE_DISK,),
}


def show(request: HttpRequest, model: type[Model], pk: int) -> HttpResponse:
    """Answer who asks for the page of something that is not there."""
    answer = page(request, "console/gone.html", "Not there", **_context(model, pk))
    answer.status_code = 404
    return answer


def tell(request: HttpRequest, model: type[Model], pk: int) -> HttpResponse:
    """Answer a page that is open already; it asks no more."""
    answer = fragment(request, "console/gone_live.html", **_context(model, pk))
    answer.status_code = ENOUGH
    return answer


def _context(model: type[Model], pk: int) -> dict[str, object]:
    subject = str(model(pk=pk)) if pk >= 0 else ""
    told = AuditEntry.objects.filter(subject=subject, verb__in=DELETIONS.get(model, ()))
    meta = model._meta  # noqa: SLF001  Django's documented API
    return {
        "subject": subject,
        "kind": meta.verbose_name,
        "kinds": meta.verbose_name_plural,
        "list": f"admin:{meta.app_label}_{meta.model_name}_changelist",
        "entry": told.order_by("-pk").first() if subject else None,
    }
