"""The page of the support bundle: what is in it, and the bundle in one click."""

import time

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from inventory import audit
from vastsky_site.support import bundle
from volumes.console.frame.page import page, viewing
from volumes.console.frame.permissions import Right, may


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Say what is in it."""
    if not may(request.user, Right.ADMINISTER):
        raise PermissionDenied
    return page(request, "site/support.html", "Support bundle", parts=bundle.PARTS)


@viewing
def download(request: HttpRequest) -> StreamingHttpResponse:
    """Send it while it is made; the audit log tells who took it."""
    if not may(request.user, Right.ADMINISTER):
        raise PermissionDenied
    name = time.strftime("vastsky-support-%Y%m%d-%H%M%S.tar.gz", time.gmtime())
    with audit.acting_as(request.user.get_username(), audit.Entrance.CONSOLE):
        bundle.note(name)
    response = StreamingHttpResponse(bundle.stream(), content_type="application/gzip")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
