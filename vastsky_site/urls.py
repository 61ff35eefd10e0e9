from django.contrib import admin
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.generic import RedirectView

from vastsky_site.pages import api_tokens


def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the site is up and its database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse("the database does not answer\n", "text/plain", 503)
    return HttpResponse("ok\n", content_type="text/plain")


# /RPC2 is not here: api.endpoint.rpc_first answers it before sessions, host checks and pages.
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("healthz", healthz),
    path("admin/access/tokens/new/", api_tokens.create, name="token-create"),
    path("admin/console/", include("volumes.console.urls")),
    path("admin/", admin.site.urls),
]
