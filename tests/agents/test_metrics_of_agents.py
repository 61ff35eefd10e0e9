"""Agents tell a monitoring system what they serve, on a port of its own, to whom they are told."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.client import StorageAgent
from agents.engines.base import DURATIONS
from agents.exposition import families_of
from agents.identity import Identity
from agents.io_figures import read_line
from agents.node import node_metrics
from agents.node.head import head_metrics
from agents.node.storage import storage_metrics
from agents.ondisk import MIB
from agents.protocol import ExportOrder, export_name
from agents.version import VERSION
from deploy.local.nbd import NbdClient, NbdError
from tests.agents.pool import LVOL, SNAP, Pool, open_device
from tests.metrics.scrape import Scrape
from vastsky_site.access import certificates

GB = 1 << 30
READERS = ["127.0.0.0/8"]
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def ask(
    node: Any, target: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, str, str]:
    """Ask an agent on its port for metrics: status, kind of text, text."""
    address, port = node.settings["addresses"][0], node.settings["metrics_port"]
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def scrape(node: Any) -> Scrape:
    status, kind, text = ask(node)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Scrape(text)


@pytest.fixture
def scraped(node: Any, free_port: Callable[[], int]) -> Any:
    """A storage node whose agent was started again, with a port for metrics."""
    return tell_metrics(node, free_port())


def tell_metrics(node: Any, port: int, **settings: Any) -> Any:
    node.end()
    node.settings |= {"metrics_port": port, **settings}
    node.start()
    return node


def test_an_agent_tells_none_by_default(node: Any) -> None:
    address, port = node.settings["addresses"][0], node.settings["port"]
    connection = http.client.HTTPConnection(address, port, timeout=10)

    connection.request("GET", "/metrics")

    assert connection.getresponse().status == 501
    connection.close()


def test_who_is_not_in_the_networks_reads_none(node: Any, free_port: Callable[[], int]) -> None:
    tell_metrics(node, free_port(), metrics_networks=["10.0.0.0/8"])

    assert ask(node)[0] == 403


@pytest.mark.parametrize(
    ("target", "method", "headers", "status"),
    [
        ("/", "GET", {}, 404),
        ("/RPC2", "POST", {}, 404),
        ("/metrics", "POST", {}, 405),
        ("/metrics", "GET", {"Origin": "http://elsewhere.example"}, 403),
        ("/metrics?now=1", "GET", {}, 200),
        ("/metrics", "HEAD", {}, 200),
    ],
)
def test_there_is_nothing_but_metrics(
    scraped: Any, target: str, method: str, headers: dict[str, str], status: int
) -> None:
    assert ask(scraped, target, method, **headers)[0] == status


def test_orders_are_obeyed_nowhere_near_the_metrics(scraped: Any) -> None:
    agent = StorageAgent(scraped.settings["addresses"], scraped.settings["metrics_port"])

    with pytest.raises(Exception, match="404"):
        agent.state()


def test_who_wants_openmetrics_gets_it(scraped: Any) -> None:
    status, kind, text = ask(scraped, Accept=OPENMETRICS)

    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    told = Scrape(text, openmetrics=True)
    assert told.value("vastsky_storage_patrol_bytes_total") >= 0


def test_a_storage_server_tells_of_its_disks(scraped: Any) -> None:
    (disk,) = scraped.registered().disks
    extent = scraped.extent(0, 1, dextid=100)
    scraped.agent.export(ExportOrder(1, 1, LVOL, 1, "s", (extent,)))
    with NbdClient(
        (scraped.settings["addresses"][0], scraped.settings["data_port"]),
        export_name(100, 1, "s"),
    ) as client:
        client.write(0, b"x" * 8192)
        client.read(0, 4096)
        told = scrape(scraped)

    # This manager gives a new number whenever a disk is registered, as after the agent's restart.
    ((_, labels),) = told.families["vastsky_storage_disk_up"].samples
    names = dict(labels)
    assert names["path"] == disk.local_path
    assert int(names["pdskid"]) >= disk.pdskid
    assert told.value("vastsky_agent_info", kind="storage", version=VERSION) == 1
    assert told.value("vastsky_storage_disk_up", **names) == 1
    assert told.value("vastsky_storage_disk_capacity_bytes", **names) == 4 * GB
    assert told.value("vastsky_storage_exports", **names) == 1
    assert told.value("vastsky_storage_clients", **names) == 1
    assert told.value("vastsky_storage_data_server_up") == 1
    moved = "vastsky_storage_request_bytes_total"
    assert told.value(moved, operation="write", **names) == 8192
    assert told.value(moved, operation="read", **names) == 4096
    assert told.value("vastsky_storage_requests_total", operation="write", **names) == 1
    spread = "vastsky_storage_request_duration_seconds"
    assert told.value(f"{spread}_count", operation="write", **names) == 1
    assert told.value(f"{spread}_bucket", operation="write", le="+Inf", **names) == 1
    assert told.value("vastsky_storage_request_errors_total", operation="read", **names) == 0


def test_a_head_tells_what_was_asked_of_its_volumes(
    head: Any, make_node: Callable[[], Any], free_port: Callable[[], int]
) -> None:
    pool = Pool(make_node)
    tell_metrics(head, free_port())
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        for place in range(17):
            device.write(place * MIB, b"v" * 4096)
        device.flush()
        device.read(0, 2 * 4096)
        head.agent.snapshot(pool.snapshot_order())
        told = scrape(head)

    moved, spread = "vastsky_head_request_bytes_total", "vastsky_head_request_duration_seconds"
    assert told.value(moved, lvolid=LVOL, operation="write") == 17 * 4096
    assert told.value(moved, lvolid=LVOL, operation="read") == 2 * 4096
    assert told.value("vastsky_head_requests_total", lvolid=LVOL, operation="write") == 17
    assert told.value("vastsky_head_requests_total", lvolid=LVOL, operation="flush") == 1
    assert told.value(f"{spread}_count", lvolid=LVOL, operation="write") == 2  # the 1st, the 17th
    assert 0 < told.value(f"{spread}_sum", lvolid=LVOL, operation="write") < 10
    assert told.value(f"{spread}_count", lvolid=SNAP, operation="read") == 0
    assert told.value("vastsky_head_volume_clients", lvolid=LVOL) == 1
    assert told.value("vastsky_head_snapshot_broken", lvolid=SNAP) == 0
    assert told.value("vastsky_head_group_up", lvolid=LVOL) == 1
    assert told.value("vastsky_head_replicas", lvolid=LVOL, state="insync") == 3
    assert told.value("vastsky_head_resync_size_bytes", lvolid=LVOL) == 0


def test_the_manager_is_told_the_same_figures_in_a_line_each(
    head: Any, make_node: Callable[[], Any]
) -> None:
    pool = Pool(make_node)
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        for place in range(17):
            device.write(place * MIB, b"v" * 4096)
        device.read(0, 2 * 4096)
        (line,) = head.agent.figures().lines

    told = read_line(line)
    assert (told.number, told.reads, told.writes) == (LVOL, 1, 17)
    assert (told.read_bytes, told.write_bytes) == (2 * 4096, 17 * 4096)
    assert (told.reads_timed, told.writes_timed) == (1, 2)
    assert 0 < told.write_us < 10_000_000
    disks = [read_line(line) for node in pool.nodes for line in node.agent.figures().lines]
    assert [disk.writes >= 17 for disk in disks] == [True] * 2


def test_what_a_device_refuses_is_no_error_of_a_disk(
    head: Any, make_node: Callable[[], Any], free_port: Callable[[], int]
) -> None:
    """A program that reads beyond the end wakes nobody."""
    pool = Pool(make_node)
    tell_metrics(head, free_port())
    head.agent.attach(pool.attach_order())
    with open_device(head) as device:
        with pytest.raises(NbdError):
            device.read(GB, 4096)
        told = scrape(head)

    assert told.value("vastsky_head_request_errors_total", lvolid=LVOL, operation="read") == 0


def test_a_node_with_certificates_tells_their_ends_in_the_clear(
    node: Any, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """Who reads metrics needs none, and could not command the node with what it has."""
    folder, addresses = tmp_path / "tls", node.settings["addresses"]
    certificates.issue(folder, "manager", ["localhost"], may_call=True)
    certificates.issue(folder, "node", addresses)
    names = {"certificate": "node.pem", "key": "node.key", "authority": "authority.pem"}
    tls = {f"tls_{what}": str(folder / name) for what, name in names.items()}
    manager = Identity(folder / "manager.pem", folder / "manager.key", folder / "authority.pem")
    node.agent = StorageAgent(addresses, node.settings["port"], identity=manager)
    tell_metrics(node, free_port(), **tls)

    ends = scrape(node).values("vastsky_agent_certificate_end_timestamp_seconds", "certificate")

    assert ends["node"] == pytest.approx(time.time() + 3650 * 86400, abs=2 * 86400)
    assert set(ends) == {"node", "authority"}


def test_counts_outlive_the_agent(scraped: Any, free_port: Callable[[], int]) -> None:
    extent = scraped.extent(0, 1, dextid=100)
    scraped.agent.export(ExportOrder(1, 1, LVOL, 1, "s", (extent,)))
    where = scraped.settings["addresses"][0], scraped.settings["data_port"]
    with NbdClient(where, export_name(100, 1, "s")) as client:
        client.write(0, b"x" * 4096)

    scraped.end()
    scraped.start()
    scraped.registered()

    moved = scrape(scraped).families["vastsky_storage_request_bytes_total"].samples
    assert sum(moved.values()) == 4096


def test_a_metric_of_agents_is_named_as_the_field_names_them() -> None:
    for family in all_families():
        assert family.name.startswith("vastsky_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.meaning.endswith(".")
    assert list(DURATIONS) == sorted(DURATIONS)


def all_families() -> list[Any]:
    modules = (node_metrics, head_metrics, storage_metrics)
    requests = head_metrics.REQUESTS.all + storage_metrics.REQUESTS.all
    return families_of(*modules) + requests
