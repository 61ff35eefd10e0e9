"""What nodes and people call things is shown, never run."""

import pytest
from django.test import Client

from inventory.models import Disk, StorageServer
from tests.console.conftest import PART
from volumes.models import Attachment, Job

EVIL = "<script>alert(1)</script>"
PAGES = [
    "/admin/",
    "/admin/console/problems/",
    "/admin/console/cluster/",
    "/admin/volumes/job/",
    "/admin/volumes/job/1/change/",
    "/admin/volumes/attachment/",
    "/admin/inventory/disk/",
    "/admin/inventory/disk/1/change/",
    "/admin/inventory/storageserver/",
    "/admin/inventory/storageserver/1/change/",
    "/admin/volumes/logicalvolume/?q=<script>alert(1)</script>",
    "/admin/console/volumes/new/",
]


PARTS = [
    "/admin/console/servers/1/disks/",
    "/admin/console/servers/1/live/",
    "/admin/console/disks/1/live/",
    "/admin/console/cluster/live/?open=1",
]


@pytest.mark.parametrize("page", [*PAGES, *PARTS])
def test_a_hostile_name_is_text(ill: None, console: Client, page: str) -> None:
    StorageServer.objects.update(site=EVIL, rack=EVIL)
    Disk.objects.update(tags=EVIL)
    Disk.objects.filter(pk=1).update(local_path=f"/dev/{EVIL}")
    Job.objects.update(subject=EVIL, error=EVIL, waiting=EVIL, actor=EVIL)
    Attachment.objects.update(error=EVIL)

    answer = console.get(page, headers=PART if page in PARTS else {})

    assert answer.status_code == 200
    assert EVIL not in answer.content.decode()
    assert "&lt;script&gt;alert(1)" in answer.content.decode()


def test_a_hostile_refusal_is_text(well: None, console: Client) -> None:
    answer = console.post(
        "/admin/console/volumes/new/", {"name": EVIL, "capacity_gb": 5, "redundancy": 2}
    )

    assert EVIL not in answer.content.decode()
