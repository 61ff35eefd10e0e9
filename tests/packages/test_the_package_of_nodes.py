"""The Debian package of nodes: what smartd runs for each warning."""

import os
import re
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from agents.node.config import DiskConfig, HeadConfig, NodeConfig, StorageConfig, load_config
from deploy.packages.node_package import NODE, SMARTD
from vastsky_site import node_examples


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


@pytest.mark.parametrize(("role", "kind"), [("head", HeadConfig), ("storage", StorageConfig)])
def test_the_example_of_settings_has_every_key_and_its_default(
    tmp_path: Path, role: str, kind: type[NodeConfig]
) -> None:
    NODE.lay_out(tmp_path)
    example = tmp_path / "usr/share/doc/vastsky-node/examples" / f"{role}.toml"
    assert example.read_text() == node_examples.example(role), node_examples.__doc__
    text = example.read_text().replace("/etc/vastsky", str(tmp_path))
    full = uncommented(text)
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("a secret")

    told = tomllib.loads(full)
    assert set(told) == {field.name for field in fields(kind)}
    for disk in told.get("disks", []):
        assert set(disk) == {field.name for field in fields(DiskConfig)}
    assert read(tmp_path / "short.toml", text, kind) == read(tmp_path / "full.toml", full, kind)


def uncommented(text: str) -> str:
    """Give the defaults that an example shows as values."""
    return re.sub(r"^#(?=\w+ = )", "", text, flags=re.MULTILINE)


def read(path: Path, text: str, kind: type[NodeConfig]) -> NodeConfig:
    """Read settings as an agent does, but for certificates, which this machine has none of."""
    path.write_text(re.sub("^tls_.*$", "", text, flags=re.MULTILINE))
    return load_config(kind, path)
