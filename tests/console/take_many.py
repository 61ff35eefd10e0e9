"""Picture very many volumes and very many problems: a part of `make states`; look at each picture.

No test: pytest lends its empty database, its server and its order of things.
"""

from itertools import product

import pytest
from django.contrib.auth.models import User
from pytest_django.live_server_helper import LiveServer

from benchmarks.seed import Size, fill
from inventory.models import Disk, Priority
from tests.console.browsing import DESK, PHONE, Scheme, chromium, serious, signed_in
from tests.console.take_screenshots import WHO
from vastsky_site.environment import ROOT
from volumes.models import Replica

FOLDER = ROOT / "var" / "states"
MANY_VOLUMES = Size(servers=50, disks=20, disk_gb=8000, heads=10, volumes=22_000)
MANY_DISKS = Size(servers=30, disks=11, disk_gb=1500, heads=2, volumes=120)
LISTS = ["/admin/", "/admin/volumes/logicalvolume/", "/admin/console/cluster/"]
PROBLEMS = ["/admin/", "/admin/console/problems/", "/admin/console/problems/?p=6"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
pytestmark = pytest.mark.django_db(transaction=True)


def _three_hundred_problems() -> None:
    fill(MANY_DISKS)
    ill = Disk.objects.filter(pk__lte=300)
    ill.update(priority=Priority.FAULTY)
    Replica.objects.filter(extent__disk__in=ill).update(status=Replica.Status.FAULTY, reason="disk")


@pytest.mark.parametrize("many", ["problems", "volumes"])
def test_take_them(live_server: LiveServer, many: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    User.objects.create_superuser(WHO[0], password=WHO[1])
    if many == "problems":
        _three_hundred_problems()
    else:
        fill(MANY_VOLUMES, trouble=True)
    found = []
    with chromium() as browser:
        for size, scheme in product((DESK, PHONE), SCHEMES):
            with signed_in(browser, live_server.url, WHO, size, scheme) as person:
                for number, path in enumerate(PROBLEMS if many == "problems" else LISTS):
                    page = person.go(path)
                    page.wait_for_timeout(500)  # parts that load themselves, and charts
                    name = f"many-{many}-{number}-{size['width']}-{scheme}"
                    page.screenshot(path=FOLDER / f"{name}.png", full_page=True)
                    found += [f"{name}: {what}" for what in serious(page)]
                    width = page.evaluate("document.documentElement.scrollWidth")
                    if width > size["width"]:
                        found.append(f"{name} is {width} pixels wide")
    assert found == [], "\n".join(found)
