"""An agent presents its token to the manager, and keeps it a secret."""

import base64
import threading
import xmlrpc.client
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agents.node.config import ConfigError, HeadConfig, load_config
from agents.node.manager_client import ManagerClient, NoManager
from agents.transport import Endpoint

CONFIG = """\
manager = "http://127.0.0.1:1/RPC2"
addresses = ["127.0.0.1"]
state_dir = "/var/lib/vastsky"
"""


class Door(HTTPServer):
    """A manager that notes who knocks, and lets in whom it knows."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Porter)
        self.heard: list[str | None] = []
        self.peer = Endpoint("127.0.0.1", self.server_port)


class Porter(BaseHTTPRequestHandler):
    server: Door

    def do_POST(self) -> None:
        self.server.heard.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = xmlrpc.client.dumps((7,), methodresponse=True).encode()
        self.send_response(200 if self.server.heard[-1] else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
        pass


@pytest.fixture
def door() -> Iterator[Door]:
    with Door() as door:
        thread = threading.Thread(target=door.serve_forever, args=(0.05,))
        thread.start()
        yield door
        door.shutdown()
        thread.join()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("secret\n")
    return path


def load(tmp_path: Path, more: str) -> HeadConfig:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG + more)
    return load_config(HeadConfig, path)


def test_the_token_goes_with_every_call_and_may_be_replaced(door: Door, token_file: Path) -> None:
    manager = ManagerClient([door.peer], "node-1", token_file)

    assert manager.number("registerHeadServer") == 7
    token_file.write_text("other")
    manager.number("registerHeadServer")

    sent = [base64.b64decode((told or "").removeprefix("Basic ")) for told in door.heard]
    assert sent == [b"node-1:secret", b"node-1:other"]


def test_without_a_token_none_is_sent_and_401_may_pass(door: Door) -> None:
    with pytest.raises(NoManager, match="401"):
        ManagerClient([door.peer]).call("vastsky.clusterInfo")
    assert door.heard == [None]


def test_a_token_that_went_away_may_come_back(door: Door, token_file: Path) -> None:
    manager = ManagerClient([door.peer], "node-1", token_file)
    token_file.unlink()

    with pytest.raises(NoManager, match="token_file"):
        manager.call("vastsky.clusterInfo")
    assert door.heard == []


def test_a_configuration_names_its_token(tmp_path: Path, token_file: Path) -> None:
    config = load(tmp_path, f'token_name = "node-1"\ntoken_file = "{token_file}"\n')

    assert (config.token_name, config.token_file) == ("node-1", token_file)


def test_a_token_that_others_may_read_is_refused(tmp_path: Path, token_file: Path) -> None:
    token_file.chmod(0o640)

    with pytest.raises(ConfigError, match="token_file: others may read"):
        load(tmp_path, f'token_name = "node-1"\ntoken_file = "{token_file}"\n')


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ('token_file = "/x"\n', "token_name: missing"),
        ('token_name = "n"\n', "token_file: an absolute path"),
        ('token_name = "n"\ntoken_file = "/nowhere/x"\n', "token_file: .*No such file"),
    ],
)
def test_half_a_token_is_refused(tmp_path: Path, more: str, refusal: str) -> None:
    with pytest.raises(ConfigError, match=refusal):
        load(tmp_path, more)


@pytest.mark.parametrize("text", ["", " \n", "two\nlines", "é"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, token_file: Path, text: str) -> None:
    token_file.write_text(text)

    with pytest.raises(ConfigError, match="holds no token"):
        load(tmp_path, f'token_name = "node-1"\ntoken_file = "{token_file}"\n')
