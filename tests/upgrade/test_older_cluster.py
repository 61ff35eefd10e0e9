"""A cluster that an older commit made goes on with this code: its database, disks and nodes."""

import re
import xmlrpc.client
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import psycopg
import pytest

from deploy import postgres
from deploy.local.ledger import BLOCK, Ledger, spread
from tests.upgrade.cluster import Cluster
from tests.upgrade.fixture import DUMP, Fixture, all_fixtures

BOUND, ERROR = 1, 2
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
NUMBER = re.compile(r"\d+")
LINK = re.compile(r'href="(/admin/[^"?#]*)"')
WORK = {"attach", "evacuate", "maintenance", "rebuild", "shred"}
"""What a fixture's cluster was in the midst of."""


class Older:
    """A fixture's cluster, run by this code, and what is known of it."""

    def __init__(self, cluster: Cluster, known: dict[str, Any]) -> None:
        self.cluster = cluster
        self.token: str = known["token"]
        self.open: list[dict[str, Any]] = known["open"]
        self.volumes: dict[str, dict[str, Any]] = known["volumes"]
        self.ledgers = {name: Ledger() for name in self.volumes}
        for name, ledger in self.ledgers.items():
            digests = self.volumes[name]["digests"]
            ledger.digests = {int(offset): bytes.fromhex(d) for offset, d in digests.items()}

    @property
    def origins(self) -> list[str]:
        return [name for name, about in self.volumes.items() if "snapshot_of" not in about]

    @property
    def snapshots(self) -> list[str]:
        return [name for name in self.volumes if name not in self.origins]

    def attach_all(self) -> None:
        for name in self.origins:
            status = self.cluster.await_at_rest(name)["bind_status"]
            if status == ERROR:
                self.cluster.detach(name)
            if status != BOUND:
                self.cluster.attach(name)

    def detach_all(self) -> None:
        for name in self.origins:
            self.cluster.detach(name)

    def wrong(self) -> list[str]:
        """Read every volume and snapshot, also between what was written; tell what differs."""
        found = []
        for name, ledger in self.ledgers.items():
            found += self.cluster.wrong(name, ledger)
            with self.cluster.open(name) as device:
                assert device.size == self.volumes[name]["capacity"] << 30
                between = set(spread(device.size, 16, start=7)) - set(ledger.digests)
                dirty = [offset for offset in between if any(device.read(offset, BLOCK))]
                found += [f"{name} at {offset}, never written" for offset in dirty]
        return found

    def resume_what_rests(self) -> None:
        for job in self.cluster.call("vastsky.listJobs"):
            if job["kind"] == "evacuate" and "paused" in job["waiting"]:
                self.cluster.call("vastsky.resumeJob", eventid=job["eventid"])
            if job["kind"] == "maintenance":  # its time does not pass while the cluster is down
                self.cluster.call("vastsky.cancelJob", eventid=job["eventid"])


@pytest.fixture(scope="module", params=all_fixtures(), ids=lambda f: f"{f.commit}-{f.database}")
def older(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Older]:
    fixture: Fixture = request.param
    folder = tmp_path_factory.mktemp("older")
    home = fixture.unpack(folder)
    with ExitStack() as stack:
        url = ""
        if fixture.database == "postgresql":
            binaries = postgres.binaries()
            if binaries is None:
                pytest.skip("PostgreSQL is not installed here")
            url = stack.enter_context(postgres.server(binaries))
            _restore(url, folder / DUMP)
        cluster = Cluster(home, database_url=url)
        stack.callback(cluster.remove)
        yield Older(stack.enter_context(cluster), fixture.read_ledger())


def test_every_byte_is_there_and_work_ends_and_redundancy_returns(older: Older) -> None:
    cluster = older.cluster
    assert {job["kind"] for job in older.open} == WORK

    older.attach_all()
    assert older.wrong() == []
    older.resume_what_rests()
    assert cluster.open_work() == []
    assert cluster.degraded() == []
    assert older.wrong() == []
    assert cluster.manage("fsck") == ""

    older.detach_all()
    assert cluster.unequal() == []
    older.attach_all()
    assert older.wrong() == []


def test_new_volumes_live_and_die_beside_the_old_ones(older: Older) -> None:
    cluster = older.cluster
    cluster.create("fresh", capacity=12)
    cluster.attach("fresh")
    ledger = Ledger()
    with cluster.open("fresh") as device:
        for offset in spread(device.size, 16):
            ledger.write(device, offset)

    cluster.detach("fresh")
    cluster.attach("fresh")

    assert cluster.wrong("fresh", ledger) == []
    cluster.detach("fresh")
    cluster.delete("fresh")
    assert "fresh" not in cluster.volumes()


def test_tokens_open_the_api_as_before(older: Older) -> None:
    address = older.cluster.place.rpc_url.removeprefix("http://")

    with xmlrpc.client.ServerProxy(f"http://older:{older.token}@{address}") as api:
        assert api.listLogicalVolumes({"ver": 5})
    with (
        xmlrpc.client.ServerProxy(f"http://older:wrong@{address}") as api,
        pytest.raises(xmlrpc.client.ProtocolError, match="401"),
    ):
        api.listLogicalVolumes({"ver": 5})


def test_the_password_opens_the_console_and_all_its_pages_show(older: Older) -> None:
    at, home = older.cluster.place.url.rstrip("/"), older.cluster.place.home
    browser = build_opener(HTTPCookieProcessor())
    (token,) = TOKEN.findall(_get(browser, at + "/admin/login/"))
    password = (home / "admin-password").read_text()
    words = {"username": "admin", "password": password, "csrfmiddlewaretoken": token}

    front = _get(browser, at + "/admin/login/?next=/admin/", urlencode(words).encode())

    pages = set(LINK.findall(front))
    assert len(pages) > 10, sorted(pages)
    below = [link for page in pages for link in LINK.findall(_get(browser, at + page))]
    # One of each kind of page is enough: of one volume, of one job, ...
    for page in pages | set({NUMBER.sub("N", link): link for link in below}.values()):
        assert _get(browser, at + page), page


def _get(browser: OpenerDirector, url: str, form: bytes | None = None) -> str:
    try:
        with browser.open(url, form, timeout=20) as answer:
            return str(answer.read().decode(errors="replace"))  # one is an archive
    except HTTPError as error:
        return "gone meanwhile" if error.code == HTTPStatus.NOT_FOUND else ""


def _restore(url: str, dump: Path) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(dump.read_bytes())
