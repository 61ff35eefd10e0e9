"""The API behind the real web server: raw sockets, large bodies, many clients at once."""

import contextlib
import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

CLIENTS = 8
LIST = xmlrpc.client.dumps(({"ver": 5},), "listEvents").encode()


def manage(*command: str, env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", *command], env=env, check=True, timeout=120)


@pytest.fixture(scope="module")
def many_files() -> Iterator[None]:
    """Allow this process as many connections as the tests hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def port(many_files: None, home: Path) -> Iterator[int]:
    """A manager of its own, with a new database; the port it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    env = {**os.environ, "VASTSKY_HOME": str(home), "DATABASE_URL": ""}
    manage("migrate", "--verbosity=0", env=env)
    log = (home / "log").open("w")
    web = subprocess.Popen(
        [sys.executable, "-m", "vastsky_site.serve", "--port", str(port)],
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


def test_a_second_web_server_on_the_port_or_folder_says_so_and_ends(
    port: int, tmp_path: Path, home: Path
) -> None:
    for folder, number, words in ((tmp_path, port, "in use"), (home, 0, "already (pid ")):
        env = {**os.environ, "VASTSKY_HOME": str(folder), "DATABASE_URL": ""}
        command = [sys.executable, "-m", "vastsky_site.serve", "--port", str(number)]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=60, check=False
        )

        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_nothing_in_the_managers_folder_is_open_to_others(port: int, home: Path) -> None:
    """Not even what an older version left there."""
    left = home / "backups"
    left.mkdir(mode=0o755)
    (left / "old.sqlite3").touch(mode=0o644)
    manage("check", env={**os.environ, "VASTSKY_HOME": str(home), "DATABASE_URL": ""})
    (home / "log").chmod(0o600)

    open_ = [path for path in (home, *home.rglob("*")) if path.lstat().st_mode & 0o077]
    assert open_ == []


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
        for _ in range(1100):
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


TWO_READINGS = {
    "chunks": ("Transfer-Encoding: chunked", 411),
    "another encoding": ("Transfer-Encoding: gzip, chunked", 411),
    "a length and chunks": ("Content-Length: {0}\r\nTransfer-Encoding: chunked", 400),
    "chunks and a length": ("Transfer-Encoding: chunked\r\nContent-Length: {0}", 400),
    "two lengths": ("Content-Length: {0}\r\nContent-Length: 5", 400),
    "a length twice": ("Content-Length: {0}\r\nContent-Length: {0}", 400),
    "a list of lengths": ("Content-Length: {0}, {0}", 411),
    "a length with a sign": ("Content-Length: +{0}", 411),
    "a blank before the colon": ("Content-Length : {0}", 400),
    "a line that goes on": ("X: y\r\n Content-Length: {0}", 400),
    "two hosts": ("Host: example\r\nContent-Length: {0}", 400),
}


@pytest.mark.parametrize("how", TWO_READINGS)
def test_a_request_with_two_readings_is_refused_and_nothing_behind_it_read(
    port: int, how: str
) -> None:
    lines, status = TWO_READINGS[how]
    behind = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n{lines.format(len(LIST))}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + LIST + behind)
        answer = connection.makefile("rb").read()

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_that_does_not_come_is_given_up_after_ten_seconds(port: int) -> None:
    """Whether nothing comes, or a byte now and then."""
    head = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as silent,
        socket.create_connection(("127.0.0.1", port), timeout=1) as dripping,
    ):
        began = time.monotonic()
        silent.sendall(head)
        dripping.sendall(head)
        answer = b""
        while not answer and time.monotonic() < began + 20:
            dripping.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = dripping.recv(1000)

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert silent.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert 9 < time.monotonic() - began < 13


def test_requests_come_one_after_the_other_and_before_their_answers(port: int) -> None:
    one = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
    call = one % (len(LIST), LIST)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for byte in call:
            connection.sendall(bytes([byte]))
        connection.sendall(call * 2)
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answers = connection.makefile("rb").read()

    assert answers.count(b"HTTP/1.1 200 ") == 4
    assert answers.endswith(b"ok\n")


def test_a_client_that_asks_first_is_told_to_send(port: int) -> None:
    head = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(LIST))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(LIST)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_nobody_takes_holds_up_nobody(port: int) -> None:
    """Its thread is free again; the connection ends in time."""
    call = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
    methods = xmlrpc.client.dumps((), "system.listMethods").encode()
    with ExitStack() as stack:
        for _ in range(80):
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                for _ in range(300):
                    deaf.sendall(call % (len(methods), methods))

        with timely(port, 5) as api:
            assert api.listEvents({"ver": 5}) == []


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
