"""Who may give orders where more than one machine is trusted: TLS and the cluster's authority."""

import http.client
import http.server
import socket
import ssl
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from agents.certificate_end import end_of
from agents.client import AgentUnreachable, HeadAgent
from agents.identity import Identity, trusting
from agents.node.config import ConfigError, HeadConfig, load_config
from agents.node.http_server import AgentServer
from agents.node.manager_client import ManagerClient, NoManager
from agents.node.methods import Method, Question
from agents.protocol import Progress, Report
from agents.transport import Endpoint
from vastsky_site.access import certificates

REPORT = Report(7, 1, Progress.DONE)


@pytest.fixture
def folder(tmp_path: Path, addresses: tuple[str, str]) -> Path:
    """The certificates of a manager and of two nodes."""
    certificates.issue(tmp_path / "tls", "manager", ["localhost", "127.0.0.1"], may_call=True)
    certificates.issue(tmp_path / "tls", "node", addresses)
    certificates.issue(tmp_path / "tls", "elsewhere", ["10.9.8.7"])
    return tmp_path / "tls"


def identity(folder: Path, name: str) -> Identity:
    return Identity(folder / f"{name}.pem", folder / f"{name}.key", folder / "authority.pem")


@pytest.fixture
def serve(
    folder: Path, addresses: tuple[str, str], free_port: Callable[[], int]
) -> Iterator[Callable[[str], int]]:
    """Serve as one of the folder; nobody is trusted for where he calls from."""
    servers: list[AgentServer] = []

    def start(name: str) -> int:
        port = free_port()
        methods = {"vastsky.report": Method(Question, lambda _: REPORT)}
        server = AgentServer(addresses, port, methods, identity(folder, name), lambda _: False)
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize("name", ["node", "authority"])
def test_a_node_reads_when_its_certificates_end(folder: Path, name: str) -> None:
    path = folder / f"{name}.pem"
    known = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc

    assert end_of(path) == known


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nMAA=\n"])
def test_what_is_no_certificate_has_no_end(tmp_path: Path, text: str) -> None:
    path = tmp_path / "node.pem"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"PEM|no certificate"):
        end_of(path)


def test_the_manager_is_obeyed_on_every_address(
    folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    port = serve("node")

    for address in addresses:
        agent = HeadAgent([address], port, identity=identity(folder, "manager"))
        assert agent.report(7, 1) == REPORT


def test_a_node_may_not_give_orders_to_another(
    folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    agent = HeadAgent(addresses[:1], serve("node"), identity=identity(folder, "node"))

    with pytest.raises(AgentUnreachable, match="TLS"):
        agent.report(7, 1)


def test_a_manager_of_another_cluster_is_a_stranger(
    tmp_path: Path, folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    certificates.issue(tmp_path / "other", "manager", ["localhost"], may_call=True)
    stranger = identity(tmp_path / "other", "manager")
    in_disguise = Identity(stranger.certificate, stranger.key, folder / "authority.pem")

    for caller in (stranger, in_disguise):
        with pytest.raises(AgentUnreachable, match="TLS"):
            HeadAgent(addresses[:1], serve("node"), identity=caller).report(7, 1)


def test_who_shows_no_certificate_is_not_heard(
    folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    port = serve("node")

    with pytest.raises(AgentUnreachable):
        HeadAgent(addresses[:1], port).report(7, 1)
    nameless = http.client.HTTPSConnection(
        addresses[0], port, timeout=5, context=trusting(folder / "authority.pem")
    )
    nameless.connect()  # in TLS 1.3 the client hears only later that it is not let in
    with pytest.raises(ssl.SSLError):
        nameless.sock.recv(1)
    nameless.close()


def test_the_manager_tells_nothing_to_who_has_a_certificate_for_another_address(
    folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    agent = HeadAgent(addresses[:1], serve("elsewhere"), identity=identity(folder, "manager"))

    with pytest.raises(AgentUnreachable, match="certificate: IP address mismatch"):
        agent.report(7, 1)


def test_a_manager_with_an_identity_gives_no_orders_in_the_clear(
    folder: Path, addresses: tuple[str, str], free_port: Callable[[], int]
) -> None:
    heard: list[int] = []

    def note(question: Question) -> Report:
        heard.append(question.eventid)
        return REPORT

    port = free_port()
    server = AgentServer(addresses, port, {"vastsky.report": Method(Question, note)})
    server.start()
    try:
        with pytest.raises(AgentUnreachable, match="TLS"):
            HeadAgent(addresses, port, identity=identity(folder, "manager")).report(7, 1)
    finally:
        server.stop()
    assert heard == []


def test_who_never_ends_shaking_hands_keeps_nobody_waiting(
    folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    port = serve("node")

    with socket.create_connection((addresses[0], port), 5):
        agent = HeadAgent(addresses[:1], port, timeout=5, identity=identity(folder, "manager"))
        assert agent.report(7, 1) == REPORT


def test_a_new_certificate_counts_from_the_next_connection(
    folder: Path, serve: Callable[[str], int], addresses: tuple[str, str]
) -> None:
    agent = HeadAgent(addresses[:1], serve("elsewhere"), identity=identity(folder, "manager"))
    (folder / "elsewhere.pem").unlink()

    certificates.issue(folder, "elsewhere", addresses)

    assert agent.report(7, 1) == REPORT


# -- an agent calls the manager -------------------------------------------------------------------


class Answering(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = xmlrpc.client.dumps((7,), methodresponse=True).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        pass


@pytest.fixture
def web(folder: Path) -> Iterator[int]:
    """A manager behind TLS that wants nothing shown."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "manager.pem", folder / "manager.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_an_agent_calls_a_manager_that_its_authority_knows(folder: Path, web: int) -> None:
    known = partial(trusting, folder / "authority.pem")
    manager = ManagerClient([Endpoint("localhost", web, secure=known)])

    assert manager.number("registerHeadServer") == 7


def test_an_agent_tells_its_token_to_no_manager_that_it_cannot_know(web: int) -> None:
    manager = ManagerClient([Endpoint("localhost", web, secure=partial(trusting, None))])

    with pytest.raises(NoManager, match="certificate"):
        manager.number("registerHeadServer")


# -- the configuration ----------------------------------------------------------------------------

CONFIG = """\
manager = "https://127.0.0.1/RPC2"
addresses = ["127.0.0.1"]
state_dir = "/var/lib/vastsky"
"""


def load(folder: Path, **files: str) -> HeadConfig:
    path = folder / "agent.toml"
    lines = [f'tls_{name} = "{folder}/{file}"\n' for name, file in files.items()]
    path.write_text(CONFIG + "".join(lines))
    return load_config(HeadConfig, path)


def test_an_identity_is_three_files(folder: Path) -> None:
    config = load(folder, certificate="node.pem", key="node.key", authority="authority.pem")

    assert config.identity == identity(folder, "node")
    assert (config.manager_endpoints[0].port, config.manager_endpoints[0].secure is None) == (
        443,
        False,
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"certificate": "node.pem"}, "tls_key: missing"),
        ({"key": "node.key"}, "tls_certificate: missing"),
        ({"certificate": "node.pem", "key": "node.key"}, "tls_authority: missing"),
        (
            {"certificate": "node.pem", "key": "elsewhere.key", "authority": "authority.pem"},
            "mismatch",
        ),
        ({"certificate": "node.pem", "key": "open.key", "authority": "authority.pem"}, "chmod 600"),
        ({"certificate": "none.pem", "key": "node.key", "authority": "authority.pem"}, "No such"),
    ],
)
def test_a_wrong_identity_is_found_at_the_start(
    folder: Path, files: dict[str, str], said: str
) -> None:
    (folder / "open.key").write_bytes((folder / "node.key").read_bytes())
    (folder / "open.key").chmod(0o644)

    with pytest.raises(ConfigError, match=said):
        load(folder, **files)


def test_the_authority_alone_is_for_knowing_the_manager(folder: Path) -> None:
    config = load(folder, authority="authority.pem")

    assert config.identity is None
    assert config.manager_endpoints[0].secure is not None
