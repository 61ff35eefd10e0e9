"""What was measured is told as charts, as numbers, and as a line in lists."""

import re
import xmlrpc.client
from typing import Any

import pytest
from django.test import Client

from benchmarks.seed import fill
from tests.console.conftest import SMALL, SignIn
from tests.console.sampled import Kind, fill_samples
from tests.contract.api import Api
from volumes.console.pages.charts import minute
from volumes.samples.packing import Io, Space


def _figures(client: Client, of: str, span: str = "hour") -> dict[str, Any]:
    answer = client.get(f"/admin/console/figures/{of}/?span={span}")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    assert {len(values) for values in told["figures"].values()} == {len(told["at"])}
    return told


def test_an_hour_tells_what_each_minute_measured(console: Client) -> None:
    fill_samples(load=lambda at, _: Io(10, 20, 4096, 8192, 0.05, 0.02), minutes=3, hours=0)

    told = _figures(console, "volume/1")

    last = {name: values[-1] for name, values in told["figures"].items()}
    near = {"reads": 10.0, "writes": 20.0, "read_bytes": 4096.0, "write_bytes": 8192.0}
    near |= {"read_ms": 5.0, "write_ms": 1.0, "queue": 0.07}
    assert last == pytest.approx(near, rel=0.01)
    assert told["figures"]["reads"][-4:] == [None, *told["figures"]["reads"][-3:]]
    assert told["begins"] == told["at"][-3]


@pytest.mark.parametrize(("span", "points"), [("day", 288), ("month", 360), ("year", 365)])
def test_longer_spans_are_means_of_as_many_points_as_can_be_seen(
    console: Client, span: str, points: int
) -> None:
    fill_samples(load=lambda *_: Io(10, 20), hours=24 * 90)

    told = _figures(console, "volume/1", span)

    assert len(told["at"]) == points
    known = [value for value in told["figures"]["writes"] if value is not None]
    assert len(known) >= min(points, 89)
    assert known == pytest.approx([20] * len(known), rel=0.01)


def test_the_cluster_tells_space_and_work_as_well(console: Client) -> None:
    fill_samples(minutes=5)

    told = _figures(console, "cluster/0")["figures"]

    assert told["capacity_gb"][-1] == 14_990
    assert told["used_gb"][-1] == 7_999
    assert told["scrub_mib"][-1] == 64


@pytest.mark.parametrize(
    ("of", "kind"), [("storage", Kind.STORAGE_SPACE), ("disk", Kind.DISK_SPACE)]
)
def test_servers_and_disks_tell_their_space(console: Client, of: str, kind: Kind) -> None:
    fill(SMALL)
    fill_samples({kind: [1]}, load=lambda *_: Space(512, 1024).packed, minutes=5, hours=0)

    told = _figures(console, f"{of}/1")["figures"]

    assert (told["used_gb"][-1], told["capacity_gb"][-1]) == pytest.approx((512, 1024), rel=0.005)
    assert set(told["reads"]) == {None}
    page = console.get(f"/admin/inventory/{of.replace('storage', 'storageserver')}/1/change/")
    assert 'data-charts="requests bytes latency queue space"' in page.content.decode()


def test_what_was_never_measured_tells_since_when_there_are_figures(console: Client) -> None:
    assert _figures(console, "volume/7")["begins"] is None
    fill_samples(minutes=2, hours=0)

    told = _figures(console, "volume/7")

    assert set(told["figures"]["reads"]) == {None}
    assert told["begins"] == 60 * (minute() - 2)


@pytest.mark.parametrize("of", ["moon/1/", "d-space/1/", "volume/1/?span=century"])
def test_there_are_no_other_kinds_and_spans(console: Client, of: str) -> None:
    assert console.get(f"/admin/console/figures/{of}").status_code == 404


def test_who_may_not_look_at_the_cluster_is_told_nothing(sign_in: SignIn) -> None:
    assert sign_in("").get("/admin/console/figures/volume/1/").status_code == 403
    assert sign_in("viewer").get("/admin/console/figures/volume/1/").status_code == 200


@pytest.mark.parametrize(
    "page", ["volumes/logicalvolume", "inventory/headserver", "inventory/storageserver"]
)
def test_lists_draw_the_last_hour_of_each_row(console: Client, page: str) -> None:
    fill(SMALL)
    fill_samples(load=lambda *_: Io(10, 20), minutes=70, hours=0)

    shown = console.get(f"/admin/{page}/").content.decode()

    assert "last hour: at most 30 requests a second" in shown
    (points, *_) = re.findall(r'<polyline points="([^"]+)"', shown)
    assert len(points.split()) == 20


def test_it_is_foretold_when_space_ends(console: Client) -> None:
    fill_samples(minutes=1, hours=30)

    told = _figures(console, "cluster/0")["foretold"]

    assert re.match(r"Space is full in about 2 y 2\d\d d if it goes on", told)


def test_nothing_is_foretold_from_less_than_a_day(console: Client) -> None:
    fill_samples(minutes=1, hours=20)

    assert _figures(console, "cluster/0")["foretold"] == ""


def test_kinds_have_their_own_numbers(console: Client) -> None:
    fill_samples({Kind.DISK: [5]}, minutes=2, hours=0)

    assert set(_figures(console, "head/5")["figures"]["reads"]) == {None}
    assert _figures(console, "disk/5")["figures"]["reads"][-1] > 0


def test_the_api_tells_the_same_samples(call: Api, console: Client) -> None:
    fill_samples(load=lambda *_: Io(10, 20, 4096, 8192, 0.05, 0.02), minutes=3, hours=0)

    told = call("vastsky.samples", lvolid=1)

    assert len(told) == 3
    near = {"reads": 10.0, "writes": 20.0, "read_ms": 5.0, "queue": 0.07}
    assert {name: told[-1][name] for name in near} == pytest.approx(near, rel=0.01)
    assert told[0]["time"] < told[-1]["time"]
    assert call("vastsky.samples", lvolid=2) == []
    assert len(call("vastsky.samples")) == 3
    with pytest.raises(xmlrpc.client.Fault, match="a span is hour, day"):
        call("vastsky.samples", span="age")
    with pytest.raises(xmlrpc.client.Fault, match="one of lvolid"):
        call("vastsky.samples", lvolid=1, pdskid=1)
