"""The console's addresses; /RPC2 and /healthz are answered before, by middleware."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from vastsky_site.pages import api_tokens, join_strings, settings_page
from vastsky_site.support import support_page

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/access/tokens/new/", api_tokens.create, name="token-create"),
    path("admin/access/nodes/new/", join_strings.invite, name="node-invite"),
    path("admin/access/nodes/<str:name>/rekey/", join_strings.rekey, name="node-rekey"),
    path("admin/settings/", settings_page.show, name="settings"),
    path("admin/support/", support_page.show, name="support"),
    path("admin/support/bundle/", support_page.download, name="support-bundle"),
    path("admin/console/", include("volumes.console.urls")),
    path("admin/", admin.site.urls),
]
