"""An answer that was lost: the call is sent again where that ends as the first one did."""

import json
import re
import socket
import xmlrpc.client
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest
from pytest_django.live_server_helper import LiveServer

from inventory.models import HeadServer, Priority
from tests.client.conftest import Run, run_vastsky
from tests.conftest import AddServer
from tests.contract.api import Api, put_down
from vastsky_client.command.statuses import Status
from volumes.models import LogicalVolume


@pytest.fixture
def volume(add_server: AddServer, call: Api) -> int:
    for _ in range(3):
        add_server()
    return int(call("createLogicalVolume", lvolname="foo", capacity=1))


class Cutter(ThreadingTCPServer):
    """A proxy that hands calls on and hangs up instead of answering, so often as it is told."""

    daemon_threads = True

    def __init__(self, target: str, cuts: int) -> None:
        super().__init__(("127.0.0.1", 0), Cut)
        self.target = urlsplit(target)
        self.cuts = cuts
        self.spared = "vastsky.listNodes"
        self.calls: list[tuple[str, object]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Cut(BaseRequestHandler):
    server: Cutter

    def handle(self) -> None:
        request = self._request()
        (struct,), method = xmlrpc.client.loads(request.partition(b"\r\n\r\n")[2])
        self.server.calls.append((str(method), struct))
        target = self.server.target
        with socket.create_connection((target.hostname, target.port)) as manager:  # type: ignore[arg-type]
            manager.sendall(request)
            answer = b"".join(iter(lambda: manager.recv(65536), b""))
        if self.server.cuts and method != self.server.spared:
            self.server.cuts -= 1
            return
        self.request.sendall(answer)

    def _request(self) -> bytes:
        found = b""
        while b"\r\n\r\n" not in found:
            found += self.request.recv(65536)
        head, _, body = found.partition(b"\r\n\r\n")
        (length,) = re.findall(rb"Content-Length: (\d+)", head)
        while len(body) < int(length):
            body += self.request.recv(65536)
        head = head.replace(b"Accept-Encoding", b"Connection: close\r\nAccept-Encoding")
        return head + b"\r\n\r\n" + body


@pytest.fixture
def cutter(live_server: LiveServer) -> Iterator[Cutter]:
    with Cutter(live_server.url, 1) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("volume")
def test_a_create_whose_answer_was_lost_gives_the_volume_that_it_made(cutter: Cutter) -> None:
    done = run_vastsky("volume", "create", "bar", "2", "--json", managers=cutter.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["lvolid"] == LogicalVolume.objects.get(name="bar").pk
    first, second = cutter.calls
    assert first == ("createLogicalVolume", {**dict(first[1]), "converge": 0})  # type: ignore[call-overload]
    assert second == ("createLogicalVolume", {**dict(first[1]), "converge": 1})  # type: ignore[call-overload]


@pytest.mark.usefixtures("volume")
def test_a_lost_answer_is_asked_for_at_another_manager(
    cutter: Cutter, live_server: LiveServer
) -> None:
    cutter.cuts = 99

    done = run_vastsky("volume", "delete", "foo", managers=f"{cutter.url} {live_server.url}")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(cutter.calls) == 1
    assert not LogicalVolume.objects.exists()


@pytest.mark.usefixtures("volume")
def test_a_snapshot_and_a_deletion_converge(cutter: Cutter) -> None:
    for words in (
        ("create", "foo", "foo-monday"),
        ("delete", "foo-monday"),
    ):
        cutter.cuts = 1
        assert run_vastsky("snapshot", *words, managers=cutter.url).returncode == 0
    assert LogicalVolume.objects.count() == 1


@pytest.mark.usefixtures("volume")
def test_a_server_whose_deletion_was_lost_is_gone_and_not_unknown(
    cutter: Cutter, vastsky: Run, call: Api
) -> None:
    hsvrid = call("registerHeadServer", ip_data=["10.7.0.1"])
    put_down(HeadServer, hsvrid, Priority.OFFLINE)
    words = ("server", "delete", f"hsvr-{hsvrid:08x}")

    assert run_vastsky(*words, managers=cutter.url).returncode == 0

    assert not HeadServer.objects.exists()
    assert vastsky(*words).returncode == Status.NOT_THERE


def test_what_exists_is_refused_where_no_answer_was_lost(vastsky: Run, volume: int) -> None:
    words = ("volume", "create", "foo", "1")

    assert vastsky(*words).returncode == Status.IN_THE_WAY
    assert vastsky(*words, "--converge").stdout == f"lvol-{volume:08x}\n"


def test_a_call_that_must_not_be_repeated_is_sent_once(cutter: Cutter) -> None:
    done = run_vastsky("token", "create", "watch", "reader", managers=cutter.url)

    assert done.returncode == Status.ANSWER_LOST
    assert done.stderr.endswith("vastsky.createToken may have been carried out, or not\n")
    assert [method for method, _ in cutter.calls] == ["vastsky.createToken"]
