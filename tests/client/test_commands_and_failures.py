"""Whom a command means, what it changes, and how it ends: 0 done, 1 refused, 2 wrong usage."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from inventory.models import Disk, HeadServer, Priority, StorageServer
from tests.client.conftest import VAS, Impostor, Run, run_command
from tests.conftest import AddServer
from tests.contract.api import Api, put_down
from vastsky_client import commands
from vastsky_site.access.tokens import create_token
from vastsky_site.models import ApiToken

Vas = Callable[..., list[str]]


@pytest.fixture
def volume(add_server: AddServer, call: Api) -> int:
    for _ in range(3):
        add_server()
    return int(call("createLogicalVolume", lvolname="foo", capacity=1))


# -- whom a command means -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["lvol-{:08x}", "lvol-{:x}", "lvol-{:08X}", "{:08x}", "foo"])
def test_a_volume_is_named_in_any_form(vas: Vas, call: Api, volume: int, form: str) -> None:
    vas("lvol_delete", form.format(volume))
    assert call("listLogicalVolumes") == []


def test_a_name_that_looks_like_an_id_is_a_name(vas: Vas, call: Api, volume: int) -> None:
    call("createLogicalVolume", lvolname="20101020", capacity=1)
    vas("lvol_delete", "20101020")
    assert [struct["lvolid"] for struct in call("listLogicalVolumes")] == [volume]


def test_what_is_one_volumes_name_and_anothers_id_deletes_neither(
    run: Run, call: Api, volume: int
) -> None:
    other = call("createLogicalVolume", lvolname=f"{volume:08x}", capacity=1)
    done = run("lvol_delete", f"{volume:08x}")
    assert done.returncode == 2
    assert f"lvol-{volume:08x}" in done.stderr
    assert f"lvol-{other:08x}" in done.stderr
    assert len(call("listLogicalVolumes")) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("lvol_list", ""),
        ("lvol_list", "lvol-00000000"),
        ("lvol_list", "lvol-80000000"),
        ("lvol_delete", "foo\nbar"),
        ("lvol_delete",),
        ("lvol_create", "foo"),
        ("lvol_create", "foo", "ten"),
        ("lvol_create", "foo", "-1"),
        ("lvol_create", "foo", "4294967297"),
        ("lvol_create", "--redundancy", "two", "foo", "1"),
        ("lvol_attach", "foo", "ssvr-00000001"),
        ("lvol_attach", "foo", "hsvr-"),
        ("pdsk_list", "ssvr-00000000"),
        ("ssvr_list", "0"),
        ("pdsk_delete", "a"),
        ("hsvr_list", "--nonsense"),
        ("lvol_resize", "foo"),
        (),
    ],
)
def test_wrong_words_are_told_before_anything_is_asked(words: tuple[str, ...]) -> None:
    done = run_command(*words, url="http://127.0.0.1:1/RPC2")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: " in done.stderr


# -- what a command changes -----------------------------------------------------------------------


def test_servers_and_disks_that_are_down_can_be_deleted(
    vas: Vas, call: Api, add_server: AddServer
) -> None:
    hsvrid, ssvrid = call("registerHeadServer", ip_data=["10.7.0.1"]), add_server(disks=2)
    pdskid = call("listPhysicalDisks")[0]["pdskid"]
    for kind, pk in ((HeadServer, hsvrid), (StorageServer, ssvrid), (Disk, pdskid)):
        put_down(kind, pk, Priority.OFFLINE)
    Disk.objects.update(priority=Priority.OFFLINE)
    assert " OFFLINE " in vas("pdsk_list")[2]
    vas("pdsk_delete", f"pdsk-{pdskid:08x}")
    assert len(call("listPhysicalDisks")) == 1
    vas("ssvr_delete", f"ssvr-{ssvrid:08x}")
    vas("hsvr_delete", f"{hsvrid:08x}")
    assert call("listStorageServers") == call("listHeadServers") == []


def test_detaching_what_is_not_attached_is_done(vas: Vas, volume: int) -> None:
    assert vas("lvol_detach", f"lvol-{volume:08x}") == []


def test_attach_says_which_volume_and_which_head(impostor: Impostor) -> None:
    impostor.body = xmlrpc.client.dumps((0,), methodresponse=True).encode()
    done = run_command("lvol_attach", "foo", "hsvr-0000000a", url=impostor.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (struct,), method = xmlrpc.client.loads(impostor.bodies[0])
    assert method == "attachLogicalVolume"
    assert struct == {"ver": 5, "lvolname": "foo", "hsvrid": 10}


# -- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("lvol_create", "foo", "1"), "File exists"),
        (("lvol_create", "bar", "1000"), "No space left on device"),
        (("lvol_create", "b r", "1"), "Invalid argument"),
        (("lvol_create", "--redundancy", "1", "bar", "1"), "Invalid argument"),
        (("lvol_list", "bar"), "No such file or directory"),
        (("lvol_show", "lvol-7fffffff"), "No such file or directory"),
        (("lvol_attach", "foo", "hsvr-00000063"), "Invalid argument"),
        (("snap_create", "bar", "bar-monday"), "Invalid argument"),
        (("ssvr_delete", "ssvr-00000001"), "Device or resource busy"),
        (("hsvr_delete", "hsvr-00000063"), "No such file or directory"),
    ],
)
@pytest.mark.usefixtures("volume")
def test_a_refusal_is_its_errno_in_words_and_nothing_else(
    run: Run, words: tuple[str, ...], reason: str
) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{reason}\n")


@pytest.mark.usefixtures("volume")
def test_verbose_adds_the_managers_sentence(run: Run) -> None:
    done = run("lvol_create", "-v", "bar", "1000")
    reason, sentence = done.stderr.splitlines()
    assert reason == "No space left on device"
    assert "1000" in sentence or "GB" in sentence


def test_a_bug_of_the_manager_is_told_as_in_2010(impostor: Impostor) -> None:
    impostor.body = xmlrpc.client.dumps(xmlrpc.client.Fault(500, "x"), methodresponse=True).encode()
    done = run_command("lvol_list", url=impostor.url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Internal server error\n")


def test_a_manager_that_is_not_there_is_one_line_without_the_token() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = run_command("lvol_list", url=f"http://ops:secret@127.0.0.1:{port}/RPC2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"lvol_list: cannot reach the manager at http://127.0.0.1:{port}/RPC2: Connection refused\n"
    )


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, b"<html>welcome</html>", "no manager: HTTP 200"),
        (200, b"", "no manager: HTTP 200"),
        (200, b"\xff\xfe", "no manager: HTTP 200"),
        (404, b"<html/>", "no manager: HTTP 404"),
        (401, b"", "no manager: HTTP 401"),
    ],
)
def test_a_stranger_at_the_address_is_one_line(
    impostor: Impostor, status: int, body: bytes, told: str
) -> None:
    impostor.status, impostor.body = status, body
    done = run_command("lvol_list", url=impostor.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"lvol_list: .*{told}\n", done.stderr)


def test_a_connection_that_breaks_is_not_tried_again(impostor: Impostor) -> None:
    impostor.hangs_up = True
    done = run_command("lvol_create", "foo", "10", url=impostor.url)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert len(impostor.bodies) == 1


@pytest.mark.parametrize("url", ["manager", "ftp://manager/", "http://", "http://[/", "http://a:b"])
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    done = run_command("lvol_list", url=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lvol_list: VAS_URL is no address of a manager; ")
    assert len(done.stderr.splitlines()) == 1


def test_name_and_token_of_the_address_are_sent(impostor: Impostor) -> None:
    impostor.body = xmlrpc.client.dumps(([],), methodresponse=True).encode()
    run_command("lvol_list", url=impostor.url.replace("127", "ops:s%40crét@127", 1))
    wanted = base64.b64encode("ops:s@crét".encode()).decode()
    assert impostor.credentials == [f"Basic {wanted}"]


def test_a_token_opens_what_its_role_may_do(live_server: LiveServer) -> None:
    _, token = create_token(name="watch", role=ApiToken.Role.READER)
    url = live_server.url.replace("://", f"://watch:{token}@")
    assert run_command("lvol_list", url=url).returncode == 0
    for words, at in (("lvol_create", "foo", "1"), url), (("lvol_list",), url.replace("@", "x@")):
        done = run_command(*words, url=at)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "Permission denied\n")


def test_what_a_manager_says_cannot_steer_the_terminal(impostor: Impostor) -> None:
    fault = xmlrpc.client.Fault(22, "no \x9b2J\u202e\nsuch thing")
    impostor.body = xmlrpc.client.dumps(fault, methodresponse=True).encode()
    done = run_command("lvol_list", "-v", url=impostor.url)
    assert done.stderr == "Invalid argument\nno ?2J??such thing\n"


def test_a_reader_that_stops_early_ends_the_command_in_silence(live_server: LiveServer) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        done = subprocess.run(
            [sys.executable, VAS, "hsvr_list"],
            env={**os.environ, "VAS_URL": live_server.url},
            stdout=nobody,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


# -- the program ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    done = run_command(name, "--help", url="")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: {name} " in done.stdout
    assert f"\nexample: {name}" in done.stdout


def test_vas_alone_names_all_commands() -> None:
    done = run_command("--help", url="")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in commands.COMMANDS)


def test_installed_commands_need_no_checkout(live_server: LiveServer, tmp_path: Path) -> None:
    root = VAS.parent.parent
    installing = [sys.executable, "-m", "vastsky_client.install", str(tmp_path)]
    subprocess.run(installing, cwd=root / "client", check=True, timeout=60)
    link = tmp_path / "hsvr_list"
    link.symlink_to("bin/vas")
    environment = {**os.environ, "VAS_URL": live_server.url}
    for program in (tmp_path / "bin" / "hsvr_list", link):
        done = subprocess.run(
            [program],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "hsvrid         priority  resync\n"
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"vas", *commands.COMMANDS}


def test_a_link_to_vas_is_the_command_of_its_name(tmp_path: Path) -> None:
    link = tmp_path / "pdsk_delete"
    link.symlink_to(VAS)
    done = subprocess.run(
        [sys.executable, link, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "usage: pdsk_delete " in done.stdout
