"""The Debian package of nodes: what smartd runs for each warning."""

import os
import re
import subprocess
from pathlib import Path

from deploy.packages.node_package import NODE, SMARTD


def test_smartd_of_debian_finds_what_to_run(tmp_path: Path) -> None:
    NODE.lay_out(tmp_path)

    script = tmp_path / SMARTD
    assert os.access(script, os.X_OK)
    assert script.parent == tmp_path / "etc/smartmontools/run.d"
    assert re.fullmatch("[a-z0-9]+", script.name), "run-parts passes over other names"
    assert f"/{SMARTD}" in (NODE.folder / "conffiles").read_text().split()


def test_every_unit_that_can_be_enabled_ends_before_the_package_goes() -> None:
    enabled = [unit for unit in NODE.folder.glob("vastsky-*.*") if "[Install]" in unit.read_text()]
    assert len(enabled) == 4

    ended = (NODE.folder / "prerm").read_text()

    assert [unit.name for unit in enabled if unit.name not in ended] == []


def test_a_machine_that_has_joined_no_cluster_is_no_failure_of_smartd(tmp_path: Path) -> None:
    # Here there is no /etc/vastsky/storage.toml, as on a machine whose package was removed.
    NODE.lay_out(tmp_path)

    done = subprocess.run([str(tmp_path / SMARTD)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
