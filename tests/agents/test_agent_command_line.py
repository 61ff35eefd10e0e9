"""The agent's command line and its configuration file."""

import subprocess
import sys
from pathlib import Path

import pytest

from agents.node.config import ConfigError, HeadConfig, StorageConfig, load_config

ROOT = Path(__file__).parents[2]
GOOD = """
manager = "http://127.0.0.1:8881/RPC2"
addresses = ["127.0.1.11", "127.0.2.11"]
state_dir = "/var/lib/vastsky"
disks = [{path = "/srv/disk", tags = "hdd", create_gb = 64}]
"""


def load(folder: Path, text: str) -> StorageConfig:
    path = folder / "agent.toml"
    path.write_text(text)
    return load_config(StorageConfig, path)


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)

    assert (config.port, config.data_port, config.patrol_mib_per_s) == (8883, 8884, 4)
    assert config.run_dir == Path("/var/lib/vastsky")
    assert config.disks[0].create_gb == 64


def test_a_head_has_settings_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(GOOD.replace("disks = ", "links_dir = '/dev/vas' #"))

    assert load_config(HeadConfig, path).port == 8882


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("manager = ", "manger = ", "manger: no such key"),
        ('manager = "http://127.0.0.1:8881/RPC2"', "", "manager: missing"),
        ("http:", "ftp:", "manager: "),
        ("127.0.2.11", "here", r"addresses\[1\]: 'here'"),
        ('["127.0.1.11", "127.0.2.11"]', "[]", "addresses: one or two"),
        ("/var/lib", "var/lib", "state_dir: an absolute path"),
        ("64}", '"64"}', r"disks\[0\].create_gb: int is wanted"),
        ("tags", "tagz", r"disks\[0\].tagz: no such key"),
        ("}]", "}, {path = '/srv/disk'}]", r"disks\[1\].path: /srv/disk is named twice"),
        ("state_dir", "port = true\nstate_dir", "port: int is wanted"),
        ("state_dir", "data_port = 70000\nstate_dir", "data_port: 70000"),
        ("state_dir", "metrics_port = 70000\nstate_dir", "metrics_port: 70000"),
        ("state_dir", "metrics_port = 8883\nstate_dir", "metrics_port: 8883 is taken"),
        (
            "state_dir",
            'metrics_networks = ["10.0.0.0/8", "all"]\nstate_dir',
            r"metrics_networks\[1\]: ",
        ),
        ("state_dir", "shred_mib_per_s = -1\nstate_dir", "shred_mib_per_s: 0 or more"),
        ("addresses", "addresses = [", "agent.toml: "),
    ],
)
def test_every_error_names_the_key(tmp_path: Path, was: str, now: str, words: str) -> None:
    assert was in GOOD
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, GOOD.replace(was, now))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agents", *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )


def test_a_bad_configuration_is_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("port = 'x'\n")
    for name in ("bad.toml", "missing.toml"):
        done = run("storage", "--config", str(tmp_path / name))

        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert name in done.stderr


def test_help_tells_what_the_agent_does() -> None:
    done = run("--help")

    assert done.returncode == 0
    assert "SIGTERM" in done.stdout
    assert "--stop-engine" in done.stdout
