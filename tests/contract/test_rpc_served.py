"""The API behind the real web server: raw sockets, large bodies, many clients at once."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.request import urlopen

import pytest

CLIENTS = 8
LIST = xmlrpc.client.dumps(({"ver": 5},), "listEvents").encode()


def manage(*command: str, env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", *command], env=env, check=True, timeout=120)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A manager of its own, with a new database; the port it listens on."""
    home = tmp_path_factory.mktemp("served")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    env = {**os.environ, "VASTSKY_HOME": str(home), "DATABASE_URL": ""}
    manage("migrate", "--verbosity=0", env=env)
    granian = [sys.executable, "-m", "granian", "--interface", "wsgi", "--blocking-threads", "200"]
    log = (home / "log").open("w")
    web = subprocess.Popen(
        [*granian, "--port", str(port), "vastsky_site.wsgi:application"],
        env=env,
        stdout=log,
        stderr=log,
    )
    try:
        wait_until_up(port, web)
        yield port
    finally:
        web.send_signal(signal.SIGTERM)
        web.wait(timeout=20)
        log.close()


def wait_until_up(port: int, web: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert web.poll() is None
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
                assert answer.read() == b"ok\n"
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the web server did not come up")


def exchange(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Send raw bytes; the answer's head and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while (head := answer.partition(b"\r\n\r\n"))[1] == b"" or len(head[2]) < length(head[0]):
            chunk = connection.recv(65536)
            if not chunk:
                break
            answer += chunk
    return head[0], head[2]


def length(head: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def fault(port: int, method: str, *params: Any) -> int:
    with client(port) as api, pytest.raises(xmlrpc.client.Fault) as caught:
        getattr(api, method)(*params)
    return int(caught.value.faultCode)


def timely(port: int, seconds: float) -> xmlrpc.client.ServerProxy:
    class Timely(xmlrpc.client.Transport):
        def make_connection(self, host: Any) -> http.client.HTTPConnection:
            connection = super().make_connection(host)
            connection.timeout = seconds
            return connection

    return xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/RPC2", transport=Timely())


def client(port: int) -> xmlrpc.client.ServerProxy:
    return xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/RPC2")


def test_the_standard_client_speaks_to_it(port: int) -> None:
    with client(port) as api:
        assert api.listEvents({"ver": 5}) == []
        assert "createLogicalVolume" in api.system.listMethods()  # type: ignore[operator]
    assert fault(port, "showLogicalVolume", {"ver": 5, "lvolid": 99}) == 2


def test_a_body_of_3_mb_is_a_fault(port: int) -> None:
    assert fault(port, "showLogicalVolume", {"ver": 5, "lvolname": "x" * (3 << 20)}) == 7


def test_a_body_of_100_mb_is_a_fault_and_kept_nowhere(port: int) -> None:
    assert fault(port, "showLogicalVolume", {"ver": 5, "lvolname": "x" * (100 << 20)}) == 7


def test_a_stranger_gets_its_answer_before_it_has_sent_its_body(port: int) -> None:
    head, _ = exchange(
        port,
        b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.0.0.7\r\n"
        b"Content-Length: 1000000\r\n\r\n",
    )

    assert head.startswith(b"HTTP/1.1 401")
    assert b"www-authenticate" in head.lower()


def test_a_stranger_with_a_large_body_hears_that_it_is_not_let_in(port: int) -> None:
    for megabytes in (3, 3, 3, 12, 12, 12):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"X-Forwarded-For": "10.0.0.7"}
        connection.request("POST", "/RPC2", b"x" * (megabytes << 20), headers)
        assert connection.getresponse().status == 401
        connection.close()


def test_strangers_that_send_no_body_hold_up_nobody(port: int) -> None:
    head = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nVia: x\r\nContent-Length: 3000000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(150):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            silent.sendall(head)
            assert silent.recv(12) == b"HTTP/1.1 401"

        with timely(port, 5) as api:
            assert api.listEvents({"ver": 5}) == []


def test_bodies_that_do_not_come_hold_up_nobody(port: int) -> None:
    head = "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nabc"
    with ExitStack() as stack:
        for _ in range(40):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            silent.sendall(head.encode())
        time.sleep(0.5)

        for _ in range(3):
            began = time.monotonic()
            with timely(port, 5) as api:
                assert api.listEvents({"ver": 5}) == []
            assert time.monotonic() - began < 2


RAW = {
    "no content type": b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n",
    "HTTP/1.0": b"POST /RPC2 HTTP/1.0\r\nContent-Length: %d\r\n\r\n",
    "a compressed body that is not": (
        b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: %d\r\n\r\n"
    ),
}


@pytest.mark.parametrize("how", RAW)
def test_a_call_is_a_call_however_it_is_wrapped(port: int, how: str) -> None:
    head, body = exchange(port, RAW[how] % len(LIST) + LIST)

    assert b"200" in head.splitlines()[0]
    assert xmlrpc.client.loads(body) == (([],), None)


def test_a_chunked_call_is_a_fault_and_no_hang(port: int) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(LIST), LIST)
    head, body = exchange(
        port,
        b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
    )

    with pytest.raises(xmlrpc.client.Fault, match="Content-Length"):
        xmlrpc.client.loads(body)
    assert b"text/xml" in head.lower()


@pytest.mark.parametrize("verb", [b"GET", b"PUT", b"DELETE", b"TRACE", b"NONSENSE"])
def test_another_verb_is_405_and_no_page(port: int, verb: bytes) -> None:
    head, body = exchange(
        port, verb + b" /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    )

    assert b" 405 " in head.splitlines()[0]
    assert b"<html" not in body.lower()


def test_a_client_that_goes_away_leaves_the_server_alive(port: int) -> None:
    for request in (
        b"POST /RPC2",
        b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nx",
    ):
        socket.create_connection(("127.0.0.1", port)).close()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)

    with client(port) as api:
        assert api.listEvents({"ver": 5}) == []


def register(port: int, number: int) -> int:
    """Register a head, all clients under one address per round."""
    with client(port) as api:
        try:
            return int(str(api.registerHeadServer({"ver": 5, "ip_data": [f"10.7.0.{number}"]})))
        except xmlrpc.client.Fault as refusal:
            return -refusal.faultCode


def test_of_clients_that_register_the_same_server_at_once_one_wins(port: int) -> None:
    for number in range(1, 6):
        with ThreadPoolExecutor(CLIENTS) as pool:
            outcomes = sorted(pool.map(register, [port] * CLIENTS, [number] * CLIENTS))

        assert outcomes[:-1] == [-17] * (CLIENTS - 1)
        assert outcomes[-1] > 0


def test_clients_that_write_at_once_are_all_served(port: int) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        numbers = list(pool.map(register, [port] * 80, range(100, 180)))

    assert len(set(numbers)) == 80
    assert min(numbers) > 0


def test_the_console_is_served_without_help_of_other_hosts(port: int) -> None:
    with urlopen(f"http://127.0.0.1:{port}/") as page:
        text = page.read().decode()

    assert page.url.startswith(f"http://127.0.0.1:{port}/admin/login/")
    style = re.search(r'href="(/static/[^"]+\.css)"', text)
    assert style
    with urlopen(f"http://127.0.0.1:{port}{style[1]}") as sheet:
        assert sheet.status == 200
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
