"""The agent's door: what comes in is obeyed, refused with a fault, or turned away."""

import contextlib
import errno
import http.client
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.errors import AgentError
from agents.node import http_server as door
from agents.node.http_server import AgentServer, is_trusted
from agents.node.methods import Method, Question

Call = Callable[..., Any]


def obey(question: Question) -> dict[str, int]:
    if question.order == 13:
        raise ZeroDivisionError
    if question.order == 14:
        raise AgentError(errno.EBUSY, "a device is open\x00")
    return {"eventid": question.eventid}


@pytest.fixture
def port(addresses: tuple[str, str], free_port: Callable[[], int]) -> Iterator[int]:
    port = free_port()
    server = AgentServer(addresses, port, {"vastsky.report": Method(Question, obey)})
    server.start()
    yield port
    server.stop()


@pytest.fixture
def post(addresses: tuple[str, str], port: int) -> Call:
    """Send a body; the status and what it says: a value or a fault."""

    def send(body: bytes, address: str = addresses[0]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(address, port, timeout=10)
        try:
            connection.request("POST", "/RPC2", body)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            return response.status, content
        try:
            return 200, xmlrpc.client.loads(content)[0][0]
        except xmlrpc.client.Fault as fault:
            return 200, fault.faultCode

    return send


def request(order: object = 1, method: str = "vastsky.report", **struct: object) -> bytes:
    wanted = {"ver": 5, "eventid": 7, "order": order, **struct}
    return xmlrpc.client.dumps((wanted,), method).encode()


def test_an_order_is_obeyed_on_every_address(post: Call, addresses: tuple[str, str]) -> None:
    for address in addresses:
        assert post(request(), address) == (200, {"eventid": 7})


def test_the_standard_client_gets_on_with_it(addresses: tuple[str, str], port: int) -> None:
    with xmlrpc.client.ServerProxy(f"http://{addresses[0]}:{port}/RPC2") as proxy:
        for event in range(3):
            answer = proxy.vastsky.report({"ver": 5, "eventid": event, "order": 1})
            assert answer == {"eventid": event}


BOMB = (
    b"<!DOCTYPE x ["
    + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 9))
    + b"]><methodCall><methodName>&a8;</methodName></methodCall>"
)
BAD = {
    "nothing": (b"", errno.EINVAL),
    "garbage": (b"\x00\x01\xff" * 100, errno.EINVAL),
    "not closed": (b"<methodCall><methodName>x", errno.EINVAL),
    "no method": (b"<methodCall><params/></methodCall>", errno.EINVAL),
    "an entity bomb": (BOMB, errno.EINVAL),
    "depth 2000": (request().replace(b"<struct>", b"<array><data><value>" * 2000), errno.EINVAL),
    "3 MB": (request(pad="x" * (3 << 20)), errno.EINVAL),
    "another version": (request(ver=4), errno.EPROTO),
    "a version that is no int": (request(ver=5.0), errno.EPROTO),
    "two methods": (
        request().replace(b"<params>", b"<methodName>vastsky.report</methodName><params>"),
        errno.EINVAL,
    ),
    "an unknown method": (request(method="vastsky.destroy"), errno.ENOSYS),
    "a wrong type": (request(order="1"), errno.EINVAL),
    "a bool for an int": (request(order=True), errno.EINVAL),
    "two params": (xmlrpc.client.dumps((1, 2), "vastsky.report").encode(), errno.EINVAL),
    "no params": (xmlrpc.client.dumps((), "vastsky.report").encode(), errno.EINVAL),
    "a missing member": (
        xmlrpc.client.dumps(({"ver": 5},), "vastsky.report").encode(),
        errno.EINVAL,
    ),
    "a response": (xmlrpc.client.dumps((1,), methodresponse=True).encode(), errno.EINVAL),
    "a refusal": (request(14), errno.EBUSY),
    "a defect": (request(13), 500),
}


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_a_fault_and_the_server_lives_on(post: Call, body: bytes, code: int) -> None:
    assert post(body) == (200, code)
    assert post(request()) == (200, {"eventid": 7})


def test_only_this_machine_is_trusted() -> None:
    assert [is_trusted(a) for a in ("127.0.0.1", "127.9.8.7", "::1")] == [True] * 3
    assert [is_trusted(a) for a in ("10.0.0.1", "192.0.2.1", "::2")] == [False] * 3


def test_a_stranger_is_turned_away_before_the_body_is_read(
    addresses: tuple[str, str], free_port: Callable[[], int]
) -> None:
    seen: list[str] = []
    port = free_port()

    def distrust(address: str) -> bool:
        seen.append(address)
        return False

    server = AgentServer(addresses[:1], port, {}, trusts=distrust)
    server.start()
    try:
        with socket.create_connection((addresses[0], port), 5) as connection:
            connection.sendall(b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
            answer = connection.makefile("rb").read()  # no byte of the body was sent
    finally:
        server.stop()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert len(seen) == 1


@pytest.mark.parametrize("header", ["Origin: null", "Sec-Fetch-Site: cross-site"])
def test_a_page_in_a_browser_of_this_machine_is_turned_away(
    addresses: tuple[str, str], port: int, header: str
) -> None:
    body = request()
    head = f"POST /RPC2 HTTP/1.1\r\nContent-Length: {len(body)}\r\n{header}\r\n\r\n"
    with socket.create_connection((addresses[0], port), 5) as connection:
        connection.sendall(head.encode() + body)
        with connection.makefile("rb") as stream:
            assert stream.readline().startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("header", ["", "Content-Length: -1\r\n", "Content-Length: x\r\n"])
def test_a_body_of_unknown_length_is_turned_away(
    addresses: tuple[str, str], port: int, header: str
) -> None:
    with socket.create_connection((addresses[0], port), 5) as connection:
        connection.sendall(f"POST /RPC2 HTTP/1.1\r\n{header}\r\n".encode())
        with connection.makefile("rb") as stream:
            assert stream.read().startswith(b"HTTP/1.1 411 ")


def test_a_client_that_drips_is_dropped_and_holds_nobody_up(
    addresses: tuple[str, str],
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "REQUEST_SECONDS", 0.4)
    port = free_port()
    server = AgentServer(addresses[:1], port, {"vastsky.report": Method(Question, obey)})
    server.start()
    stop = threading.Event()
    try:
        with socket.create_connection((addresses[0], port), 5) as slow:
            slow.sendall(b"POST /RPC2 HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
            sent = 0
            try:
                while sent < 100:
                    slow.sendall(b"x")
                    sent += 1
                    stop.wait(0.05)
            except OSError:
                pass
        assert sent < 100
    finally:
        server.stop()


def test_other_verbs_get_no_html(addresses: tuple[str, str], port: int) -> None:
    connection = http.client.HTTPConnection(addresses[0], port, timeout=5)
    connection.request("GET", "/")
    response = connection.getresponse()

    assert response.status == 501
    assert b"<" not in response.read()
    connection.close()


HELD = {
    "nothing": b"",
    "half a head": b"POST /RPC2 HT",
    "no body": b"POST /RPC2 HTTP/1.1\r\nContent-Length: 100\r\n\r\n",
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD.keys())
def test_connections_that_are_held_keep_nobody_out(
    addresses: tuple[str, str], port: int, post: Call, held: bytes
) -> None:
    """Twice as many as may wait: the oldest of whoever has the most make room."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * door.WAITING):
            silent = stack.enter_context(socket.create_connection((addresses[0], port), 5))
            silent.sendall(held)

        for address in addresses * 3:
            began = time.monotonic()
            assert post(request(), address) == (200, {"eventid": 7})
            assert time.monotonic() - began < 1
        assert sum("answer" in thread.name for thread in threading.enumerate()) < 64


def test_who_holds_many_connections_loses_his_own(addresses: tuple[str, str], port: int) -> None:
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(socket.create_connection((addresses[0], port), 5))
        for _ in range(2 * door.WAITING):
            stack.enter_context(
                socket.create_connection((addresses[0], port), 5, (addresses[1], 0))
            )

        body = request()
        mine.sendall(f"POST /RPC2 HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        assert mine.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_connection_that_says_nothing_is_ended(
    addresses: tuple[str, str],
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(door, "REQUEST_SECONDS", 0.4)
    port = free_port()
    server = AgentServer(addresses[:1], port, {})
    server.start()
    try:
        with socket.create_connection((addresses[0], port), 5) as silent:
            assert silent.recv(1) == b""
    finally:
        server.stop()
