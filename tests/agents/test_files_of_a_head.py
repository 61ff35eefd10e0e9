"""What a head needs of its machine for block devices: configuration, and files to install."""

import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from agents.engines.devices import nbd_module
from agents.node import host_files
from agents.node.config import ConfigError, DeviceKind, HeadConfig, load_config

ROOT = Path(__file__).parents[2]
GOOD = """
manager = "http://127.0.0.1:8881/RPC2"
addresses = ["127.0.1.11"]
state_dir = "/var/lib/vastsky"
run_dir = "/run/vastsky"
"""
ME = pwd.getpwuid(os.getuid()).pw_name
OURS = grp.getgrgid(os.getgid()).gr_name


def load(folder: Path, more: str = "") -> HeadConfig:
    path = folder / "head.toml"
    path.write_text(GOOD + more)
    return load_config(HeadConfig, path)


def test_who_may_open_volumes_is_read_by_name(tmp_path: Path) -> None:
    plain = load(tmp_path)
    assert (plain.device, plain.owner, plain.group) == (DeviceKind.AUTO, -1, -1)

    words = (
        f"device = 'nbd'\ndevice_owner = '{ME}'\ndevice_group = '{OURS}'\ndevice_mode = '0660'\n"
    )
    told = load(tmp_path, words)

    assert (told.device, told.owner, told.group) == (DeviceKind.NBD, os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("device = 'disk'", "device: 'disk' is none of auto, nbd, socket"),
        ("device = 1", "device: str is wanted, not 1"),
        ("device_owner = 'nobody-of-that-name'", "device_owner: there is no 'nobody-of-that-name'"),
        ("device_group = 'no-such-group'", "device_group: there is no 'no-such-group'"),
        ("device_mode = 'rw'", "device_mode: 'rw' is no mode such as '0660'"),
        ("device_mode = '04755'", "device_mode: '04755'"),
    ],
)
def test_every_error_names_the_key(tmp_path: Path, words: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, words)


def test_others_are_not_let_through_the_folder_of_state(tmp_path: Path) -> None:
    path = tmp_path / "head.toml"
    path.write_text(GOOD.replace("run_dir", "#") + "device_mode = '0660'\n")

    with pytest.raises(ConfigError, match="run_dir: missing"):
        load_config(HeadConfig, path)


def test_what_was_installed_is_found_complete_until_something_changes(tmp_path: Path) -> None:
    config = load(tmp_path, f"device = 'nbd'\ndevice_group = '{OURS}'\n")
    root = tmp_path / "root"
    assert len(list(host_files.lacks(config, root))) == 2

    host_files.install(config, root)
    assert list(host_files.lacks(config, root)) == []

    other = load(tmp_path, "device = 'nbd'\ndevice_mode = '0600'\n")
    (rules,) = host_files.lacks(other, root)
    assert rules.endswith("59-vastsky.rules is not what this version and configuration want")
    assert list(host_files.lacks(load(tmp_path, "device = 'socket'"), root)) == []


def test_the_rules_are_for_our_devices_only_and_name_their_links(tmp_path: Path) -> None:
    config = load(tmp_path, f"device_group = '{OURS}'\nlinks_dir = '/dev/vas'\n")

    rules = host_files.files(config)[host_files.RULES]

    assert 'KERNEL!="nbd[1-9][0-9][0-9][0-9]*", GOTO="vastsky_end"' in rules
    assert f'GROUP:="{OURS}"' in rules
    assert 'ENV{SYSTEMD_ALIAS}="/dev/vas/%c{9} /dev/vas/%c{7}"' in rules
    assert rules.endswith('LABEL="vastsky_end"\n')


def agent(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents", *words, "--config", str(folder / "head.toml")]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


def test_what_is_missing_on_this_machine_is_one_line_and_status_1(tmp_path: Path) -> None:
    load(tmp_path)
    if (Path("/") / host_files.RULES).exists():
        pytest.skip("the files of a head are installed here")

    done = agent(tmp_path, "head", "--check-files")

    assert done.returncode == 1
    assert "/etc/udev/rules.d/59-vastsky.rules is missing" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_storage_agent_has_no_such_files(tmp_path: Path) -> None:
    load(tmp_path)

    done = agent(tmp_path, "storage", "--install-files")

    assert done.returncode == 2
    assert "a storage agent has no --install-files" in done.stderr


def test_an_agent_that_must_make_devices_and_cannot_does_not_start(tmp_path: Path) -> None:
    if not nbd_module.why_unusable():
        pytest.skip("this machine's kernel can make devices")
    load(tmp_path, "device = 'nbd'\n")
    (tmp_path / "head.toml").write_text(
        (tmp_path / "head.toml").read_text().replace("/var/lib/vastsky", str(tmp_path / "state"))
    )

    done = agent(tmp_path, "head")

    assert done.returncode == 2
    assert done.stderr.startswith("device: ")
