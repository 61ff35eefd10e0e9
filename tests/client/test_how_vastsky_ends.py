"""Exit statuses, several managers, configuration: how `vastsky` ends."""

import errno
import json
import os
import signal
import subprocess
import sys
import xmlrpc.client
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.client.conftest import VASTSKY, Impostor, Run, run_vastsky
from tests.conftest import AddServer
from tests.contract.api import Api
from vastsky_client.command.statuses import MEANINGS, Status, of_fault
from vastsky_site.access.tokens import create_token
from vastsky_site.models import ApiToken

NOBODY = "http://127.0.0.1:1"
"""Nothing listens there."""


@pytest.fixture
def volume(add_server: AddServer, call: Api) -> int:
    for _ in range(3):
        add_server()
    return int(call("createLogicalVolume", lvolname="foo", capacity=1))


def answer(impostor: Impostor, fault: xmlrpc.client.Fault) -> None:
    """Let every call be answered so."""
    impostor.body = xmlrpc.client.dumps(fault, methodresponse=True).encode()


# -- exit statuses --------------------------------------------------------------------------------


@pytest.mark.usefixtures("volume")
@pytest.mark.parametrize(
    ("words", "status", "name"),
    [
        (("volume", "create", "foo", "1"), Status.IN_THE_WAY, "EEXIST"),
        (("volume", "create", "bar", "1000"), Status.NO_ROOM, "ENOSPC"),
        (("volume", "create", "b r", "1"), Status.REFUSED, "EINVAL"),
        (("volume", "show", "bar"), Status.NOT_THERE, "ENOENT"),
        (("volume", "attach", "foo", "hsvr-00000063"), Status.REFUSED, "EINVAL"),
        (("volume", "attach", "foo", "nobody"), Status.NOT_THERE, ""),
        (("server", "delete", "ssvr-00000001"), Status.IN_THE_WAY, "EBUSY"),
        (("disk", "list", "lvol-1"), Status.NOT_THERE, ""),
        (("disk", "fail", "/dev/none"), Status.NOT_THERE, ""),
        (("maintenance", "stop", "ssvr-00000001"), Status.NOT_THERE, ""),
    ],
)
def test_a_refusal_is_a_sentence_its_errno_and_a_status(
    vastsky: Run, words: tuple[str, ...], status: Status, name: str
) -> None:
    done = vastsky(*words)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("vastsky: ")
    assert done.stderr.count("\n") == 1
    assert not name or done.stderr.endswith(f" ({name})\n")

    error = json.loads(vastsky(*words, "--json").stderr)["error"]
    assert (error["status"], error["name"]) == (status, name)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.EAGAIN, Status.AGAIN_LATER),
        (errno.ETIMEDOUT, Status.AGAIN_LATER),
        (errno.EHOSTDOWN, Status.AGAIN_LATER),
        (errno.EACCES, Status.NOT_ALLOWED),
        (errno.EPROTO, Status.REFUSED),
        (errno.EIO, Status.REFUSED),
        (500, Status.BUG),
        (-32601, Status.REFUSED),
    ],
)
def test_later_and_never_are_told_apart(impostor: Impostor, code: int, status: Status) -> None:
    answer(impostor, xmlrpc.client.Fault(code, "no"))

    assert run_vastsky("volume", "list", managers=impostor.url).returncode == status


def test_every_status_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Status)
    assert of_fault(0) is Status.REFUSED


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("volume",),
        ("nonsense", "list"),
        ("volume", "nonsense"),
        ("volume", "create", "foo"),
        ("volume", "create", "foo", "ten"),
        ("volume", "create", "foo", "1", "--redun", "2"),
        ("volume", "list", "--nonsense"),
        ("volume", "list", "lvol-0"),
        ("token", "create", "x", "king"),
        ("job", "show", "1", "--timeout", "-1"),
        ("cluster", "call", "listEvents", "all"),
    ],
)
def test_wrong_words_are_told_before_anything_is_asked(words: tuple[str, ...]) -> None:
    done = run_vastsky(*words, managers=NOBODY)

    assert (done.returncode, done.stdout) == (Status.USAGE, "")
    assert "usage: vastsky" in done.stderr


def test_a_manager_that_is_not_there_is_one_line_without_the_token() -> None:
    done = run_vastsky("volume", "list", managers="http://ops:secret@127.0.0.1:1")

    assert (done.returncode, done.stdout) == (Status.NO_MANAGER, "")
    assert done.stderr == (
        "vastsky: cannot reach the manager at http://127.0.0.1:1/RPC2: Connection refused\n"
    )


@pytest.mark.parametrize("word", ["managers", "ftp://host", "http://", "http://a:b"])
def test_an_address_that_is_none_is_wrong_usage(word: str) -> None:
    done = run_vastsky("volume", "list", managers=word)

    assert done.returncode == Status.USAGE
    assert "is no address of a manager" in done.stderr


# -- several managers -----------------------------------------------------------------------------


def test_a_dead_manager_is_passed_over(vastsky: Run, live_server: LiveServer, volume: int) -> None:
    for managers in (f"{NOBODY} {live_server.url}", f"{live_server.url},{NOBODY}"):
        done = vastsky("volume", "list", managers=managers)
        assert (done.returncode, done.stderr) == (0, "")
        assert "foo" in done.stdout


def test_a_manager_without_a_database_is_passed_over(
    vastsky: Run, live_server: LiveServer, impostor: Impostor
) -> None:
    impostor.status = 503
    answer(impostor, xmlrpc.client.Fault(500, "internal server error"))

    done = vastsky("volume", "list", managers=f"{impostor.url} {live_server.url}")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(impostor.bodies) == 1


def test_when_all_are_dead_each_is_told() -> None:
    done = run_vastsky("volume", "list", managers=f"{NOBODY} http://127.0.0.1:2")

    assert done.returncode == Status.NO_MANAGER
    assert "127.0.0.1:1/" in done.stderr
    assert "127.0.0.1:2/" in done.stderr


def test_what_is_no_manager_is_told_as_that(impostor: Impostor) -> None:
    impostor.body = b"<html>welcome</html>"

    done = run_vastsky("volume", "list", managers=impostor.url)

    assert done.returncode == Status.NO_MANAGER
    assert done.stderr.endswith("is no manager: HTTP 200\n")


# -- who we are, and where the managers are -------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, live_server: LiveServer) -> Path:
    """A configuration with a token of a reader."""
    _, token = create_token(name="watch", role=ApiToken.Role.READER)
    (tmp_path / "token").write_text(f"{token}\n")
    (tmp_path / "token").chmod(0o600)
    file = tmp_path / "vastsky.toml"
    file.write_text(
        f'managers = ["{live_server.url}"]\ntoken_name = "watch"\ntoken_file = "{tmp_path}/token"\n'
    )
    return file


def test_the_file_of_the_home_has_managers_and_token(config: Path) -> None:
    home = {"managers": "", "XDG_CONFIG_HOME": str(config.parent)}

    assert run_vastsky("volume", "list", **home).returncode == 0
    assert run_vastsky("scrub", "pause", **home).returncode == Status.NOT_ALLOWED


def test_the_environment_goes_before_the_file_and_the_line_before_both(
    config: Path, live_server: LiveServer
) -> None:
    there = ("--config", str(config))
    done = run_vastsky("volume", "list", *there, managers=NOBODY)
    assert done.returncode == Status.NO_MANAGER
    done = run_vastsky("volume", "list", *there, "--manager", live_server.url, managers=NOBODY)
    assert done.returncode == 0
    done = run_vastsky("--config", str(config), "volume", "list", managers="")
    assert done.returncode == 0


def test_a_wrong_token_is_not_allowed(config: Path) -> None:
    (config.parent / "token").write_text("vastsky_wrong")

    done = run_vastsky("volume", "list", "--config", str(config), managers="")

    assert done.returncode == Status.NOT_ALLOWED


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("managers = 1", "managers is a list"),
        ("managers = []", "managers is a list"),
        ("manager = 'x'", "there is no manager"),
        ("token_file = 1", "token_file is a text"),
        ("token_file = '/nonexistent'", "cannot be read"),
        ("= 1", "vastsky.toml"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(
    tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "vastsky.toml"
    file.write_text(text)

    done = run_vastsky("volume", "list", "--config", str(file), managers="")

    assert (done.returncode, done.stdout) == (Status.USAGE, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_token_that_everybody_may_read_is_refused(config: Path) -> None:
    (config.parent / "token").chmod(0o644)

    done = run_vastsky("volume", "list", "--config", str(config), managers="")

    assert done.returncode == Status.USAGE
    assert "chmod 600" in done.stderr


@pytest.mark.parametrize("words", [("volume", "list"), ("volume", "--help")])
def test_a_reader_that_stops_early_ends_the_command_in_silence(
    live_server: LiveServer, words: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(
            [sys.executable, VASTSKY, *words],
            env={**os.environ, "VASTSKY_MANAGERS": live_server.url},
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_what_a_manager_says_cannot_steer_the_terminal(impostor: Impostor) -> None:
    answer(impostor, xmlrpc.client.Fault(22, "no \x9b2J\u202e\nsuch thing"))

    done = run_vastsky("volume", "list", managers=impostor.url)

    assert done.stderr == "vastsky: no ?2J??such thing (EINVAL)\n"
