"""Take the pictures of the documentation: `make screenshots`, then look at each of them.

No test: pytest lends its empty database, its server and its order of things.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, ViewportSize
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import Size, fill
from inventory.models import HeadServer, StorageServer
from tests.console.browsing import PHONE, Scheme, chromium, signed_in
from tests.console.sampled import Kind, fill_samples
from volumes.models import Attachment, LogicalVolume
from volumes.sample_models import ShownVolume

FOLDER = Path(__file__).parent.parent.parent / "docs" / "screenshots"
DESK = ViewportSize(width=1280, height=860)
WHO = ("root", "open-sesame-7")
SIZE = Size(servers=8, disks=4, heads=3, volumes=240)
VOLUME = "/admin/volumes/logicalvolume/{}/change/"
LIST = "/admin/volumes/logicalvolume/"


class Picture(NamedTuple):
    """A page, as a picture of this name."""

    name: str
    path: str
    size: ViewportSize = DESK
    scheme: Scheme = "light"


PICTURES = [
    Picture("overview", "/admin/"),
    Picture("phone", "/admin/", PHONE),
    Picture("problems-dark", "/admin/console/problems/", scheme="dark"),
    Picture("find", "/admin/"),
    Picture("volumes", f"{LIST}?attached=bound&o=4"),
    Picture("phone-list", f"{LIST}?attached=bound", PHONE),
    Picture("volume", VOLUME),
    Picture("server", "/admin/inventory/storageserver/2/change/"),
    Picture("placement", "/admin/console/placement/?dies=storage-2"),
]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def used(transactional_db: None) -> int:
    """A cluster on a bad day; the number of a volume that is in use, and lacks a replica."""
    User.objects.create_superuser(WHO[0], password=WHO[1])
    fill(SIZE, trouble=True)
    for kind, word in ((StorageServer, "storage"), (HeadServer, "head")):
        for row in kind.objects.all():
            kind.objects.filter(pk=row.pk).update(name=f"{word}-{row.pk}")
    bound = Attachment.objects.filter(state=Attachment.State.BOUND)
    weak = bound.filter(volume__mirrors__replicas__server=8).earliest("pk")
    ShownVolume.objects.create(
        volume=weak.volume, folder="/dev/vas", way="block", clients=1, held_mib=0
    )
    volumes = list(LogicalVolume.objects.values_list("pk", flat=True))
    heads = list(HeadServer.objects.values_list("pk", flat=True))
    storages = list(StorageServer.objects.values_list("pk", flat=True))
    fill_samples(
        {
            Kind.VOLUME: volumes,
            Kind.HEAD: heads,
            Kind.STORAGE: storages,
            Kind.CLUSTER: [0],
        },
        minutes=61,
        hours=0,
    )
    return weak.volume_id


def test_take_them(browser: Browser, live_server: LiveServer, used: int) -> None:
    for picture in PICTURES:
        with signed_in(browser, live_server.url, WHO, picture.size, picture.scheme) as person:
            page = person.go(picture.path.format(used))
            if picture.name == "find":
                _find(page)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(500)  # charts and the placement are drawn
            page.screenshot(path=FOLDER / f"{picture.name}.png")


def _find(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("stor")
    page.get_by_role("dialog").get_by_role("link").first.wait_for()
