"""The console's own addresses, beside the admin's lists."""

from django.urls import path, register_converter

from volumes.console.frame.page import IdConverter
from volumes.console.pages import (
    charts,
    cluster_tree,
    create_volume,
    find,
    hardware_pages,
    job_page,
    manual,
    overview,
    paths_page,
    placement_page,
    problems_page,
    volume_page,
)
from volumes.console.verbs import many, run

register_converter(IdConverter, "id")

app_name = "console"
urlpatterns = [
    path("overview/live/", overview.live, name="overview-live"),
    path("find/", find.show, name="find"),
    path("overview/outlook/", placement_page.outlook, name="outlook"),
    path("placement/", placement_page.show, name="placement"),
    path("paths/", paths_page.show, name="paths"),
    path("paths/live/", paths_page.live, name="paths-live"),
    path("problems/", problems_page.show, name="problems"),
    path("problems/badge/", overview.badge_live, name="badge"),
    path("problems/live/", problems_page.live, name="problems-live"),
    path("problems/acknowledge/", problems_page.acknowledge, name="acknowledge"),
    path("problems/tell-again/", problems_page.tell_again, name="tell-again"),
    path("cluster/", cluster_tree.show, name="cluster"),
    path("cluster/live/", cluster_tree.live, name="cluster-live"),
    path("heads/<id:head_id>/live/", hardware_pages.head_live, name="head-live"),
    path("servers/<id:server_id>/live/", hardware_pages.storage_live, name="storage-live"),
    path("disks/<id:disk_id>/live/", hardware_pages.disk_live, name="disk-live"),
    path("servers/<id:server_id>/disks/", hardware_pages.disks, name="disks"),
    path("disks/<id:disk_id>/map/", hardware_pages.disk_map, name="disk-map"),
    path("volumes/new/", create_volume.create, name="create"),
    path("volumes/new/preview/", create_volume.preview, name="create-preview"),
    path("volumes/<id:volume_id>/live/", volume_page.live, name="volume-live"),
    path("volumes/<id:volume_id>/layers/", volume_page.layers, name="volume-layers"),
    path("jobs/<id:job_id>/live/", job_page.live, name="job-live"),
    path("figures/<slug:kind>/<id:number>/", charts.figures, name="figures"),
    path("manual/", manual.index, name="manual-index"),
    path("manual/<slug:name>/", manual.show, name="manual"),
    path("do/<slug:verb>/", run.act, name="act"),
    path("do/<slug:verb>/all/", many.act, name="act-on-all"),
    path("jobs/<id:job_id>/volumes.csv", many.export, name="batch-csv"),
]
