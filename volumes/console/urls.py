"""The console's own addresses, beside the admin's lists."""

from django.urls import path, register_converter

from volumes.console import (
    acting,
    cluster,
    creating,
    iron_pages,
    job_page,
    overview,
    problems,
    volume_page,
)
from volumes.console.page import IdConverter

register_converter(IdConverter, "id")

app_name = "console"
urlpatterns = [
    path("overview/live/", overview.live, name="overview-live"),
    path("problems/", problems.show, name="problems"),
    path("problems/live/", problems.live, name="problems-live"),
    path("cluster/", cluster.show, name="cluster"),
    path("servers/<id:server_id>/disks/", iron_pages.disks, name="disks"),
    path("disks/<id:disk_id>/map/", iron_pages.disk_map, name="disk-map"),
    path("volumes/new/", creating.create, name="create"),
    path("volumes/new/preview/", creating.preview, name="create-preview"),
    path("volumes/<id:volume_id>/live/", volume_page.live, name="volume-live"),
    path("jobs/<id:job_id>/live/", job_page.live, name="job-live"),
    path("do/<slug:verb>/", acting.act, name="act"),
]
