"""Packages are installed, installed again, removed and purged on a machine that runs systemd."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages.machines import Machine, running

UNITS = "vastsky-web vastsky-worker vastsky-beat"
MADE = (
    "runuser -u postgres -- createuser vastsky",
    "runuser -u postgres -- createdb --owner vastsky vastsky",
    "vastsky-manage certificate manager machine 10.1.0.1 --manager",
    "vastsky-manage migrate",
    f"systemctl enable --now {UNITS}",
)


@pytest.fixture(scope="module")
def machine(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    one = Machine("machine", ("10.1.0.1",))
    with running(base, [one], tmp_path_factory.mktemp("machine")):
        one.run("apt install ./vastsky-*.deb")
        for line in MADE:
            one.run(line)
        yield one


def test_the_managers_package_brings_what_prometheus_and_grafana_read(packages: list[Path]) -> None:
    (manager,) = (path for path in packages if path.name.startswith("vastsky-manager_"))
    held = subprocess.run(
        ["dpkg-deb", "--contents", str(manager)], capture_output=True, text=True, check=True
    ).stdout
    for name in ("prometheus.yml", "vastsky.rules.yml", "grafana-board.json"):
        assert f"./usr/share/vastsky/prometheus/{name}\n" in held


def test_lintian_finds_no_error(packages: list[Path]) -> None:
    command = ["lintian", "--fail-on", "error", *map(str, packages)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout


def test_settings_and_folder_are_closed_to_others(machine: Machine) -> None:
    paths = "/etc/vastsky/manager.env /var/lib/vastsky/manager"
    assert machine.run(f"stat -c '%a %U' {paths}").split("\n")[:2] == ["600 root", "700 vastsky"]


def test_an_upgrade_restarts_what_runs_and_leaves_the_settings(machine: Machine) -> None:
    before = machine.run("cat /etc/vastsky/manager.env")
    pids = f"systemctl show --property MainPID --value {UNITS}"
    ran = machine.run(pids).split()

    told = machine.run("apt install --reinstall ./vastsky-manager_*.deb")

    assert "vastsky-manage migrate" not in told
    assert machine.run("cat /etc/vastsky/manager.env") == before
    assert not set(machine.run(pids).split()) & {*ran, "0"}
    assert machine.run(f"systemctl is-active {UNITS}").split() == ["active"] * 3


def test_what_is_purged_leaves_the_authority_and_what_is_another_packages(
    machine: Machine,
) -> None:
    machine.run("touch /etc/vastsky/head.toml")

    machine.run("apt remove vastsky-manager")
    assert machine.run("ls /etc/vastsky").split() == ["head.toml", "manager.env"]
    told = machine.run("apt purge vastsky-manager")

    assert "/var/lib/vastsky/manager stays" in told
    assert machine.run("ls /etc/vastsky").split() == ["head.toml"]
    assert "authority.key" in machine.run("ls /var/lib/vastsky/manager/tls")
    assert machine.run("runuser -u postgres -- psql -lqt | grep -c vastsky").strip() != "0"
    assert machine.run("test ! -e /usr/lib/vastsky/manager; vastsky --version")
