"""Which engine a node has: one, and what another one left there is not forgotten."""

import json
import stat
from pathlib import Path

import pytest

from agents.boot import boot_id
from agents.engines.base import EngineError, Lease
from agents.engines.kernel import export_file, iscsi_names, kernel_storage
from agents.engines.userspace.head import state_file
from agents.node.config import (
    ConfigError,
    EngineKind,
    HeadConfig,
    StorageConfig,
    load_config,
)
from agents.node.engine_choice import head_engine, storage_engine
from agents.protocol import AttachOrder, export_name

SETTINGS = """
manager = "http://127.0.0.1:8881/RPC2"
addresses = ["127.0.1.11"]
state_dir = "{folder}"
engine = "{engine}"
"""
SECRET = "0123456789abcdef01234567"
EXPORTS_1 = """{"boot_id": "%s", "instance": "5e1f", "leases": [
{"name": "12.3-0123456789abcdef01234567", "path": "/dev/vdc", "offset": 0, "size": 1073741824,
"meta_offset": 8589934592, "dextid": 12, "lvolid": 7, "epoch": 3}], "version": 1}"""
LEASE = Lease(export_name(12, 3, SECRET), "/dev/vdc", 0, 1 << 30, 1 << 33, 12, 7, 3)


def settings(folder: Path, engine: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(SETTINGS.format(folder=folder, engine=engine))
    return path


def test_a_node_has_the_embedded_engine_unless_told_otherwise(tmp_path: Path) -> None:
    path = settings(tmp_path, "kernel")
    chosen = load_config(HeadConfig, path)
    path.write_text(path.read_text().replace("engine", "#"))

    assert (chosen.engine, chosen.iscsi_port) == (EngineKind.KERNEL, 3260)
    assert load_config(StorageConfig, path).engine is EngineKind.USERSPACE


def test_an_engine_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="engine: 'spdk' is none of userspace, kernel"):
        load_config(HeadConfig, settings(tmp_path, "spdk"))


def test_a_head_does_not_forget_volumes_that_the_kernel_runs(tmp_path: Path) -> None:
    (tmp_path / "kernel" / "00000007").mkdir(parents=True)

    with pytest.raises(ConfigError, match=r"group 7\) by the kernel engine: detach"):
        head_engine(load_config(HeadConfig, settings(tmp_path, "userspace")))


def test_a_head_does_not_forget_volumes_of_the_embedded_engine(tmp_path: Path) -> None:
    folder = tmp_path / "groups" / "00000007"
    folder.mkdir(parents=True)
    state_file.write_state(
        str(folder), state_file.saved_group(AttachOrder(1, 1, 1, 7, 3, ()), None)
    )

    with pytest.raises(ConfigError, match=r"group 7\) by the embedded engine: detach"):
        head_engine(load_config(HeadConfig, settings(tmp_path, "kernel")))


def test_a_storage_server_does_not_forget_what_its_kernel_exports(tmp_path: Path) -> None:
    exports = export_file.ExportFile(tmp_path / kernel_storage.FILE)
    exports.add([LEASE])

    with pytest.raises(ConfigError, match="kernel still exports"):
        storage_engine(load_config(StorageConfig, settings(tmp_path, "userspace")))


def test_exports_are_known_to_the_next_agent_of_the_same_start_of_the_machine(
    tmp_path: Path,
) -> None:
    path = tmp_path / "exports.json"
    first = export_file.ExportFile(path)
    first.begin()
    first.add([LEASE])

    after = export_file.ExportFile(path)
    path.write_text(path.read_text().replace(boot_id(), "another start"))
    rebooted = export_file.ExportFile(path)

    assert (after.leases, after.instance) == ((LEASE,), first.instance)
    assert rebooted.leases == ()
    assert rebooted.instance != first.instance


def test_exports_as_their_first_version_wrote_them_are_read(tmp_path: Path) -> None:
    path = tmp_path / "exports.json"
    path.write_text(EXPORTS_1 % boot_id())

    exports = export_file.ExportFile(path)

    assert (exports.leases, exports.instance) == ((LEASE,), "5e1f")


def test_exports_that_a_newer_agent_wrote_are_neither_misread_nor_overwritten(
    tmp_path: Path,
) -> None:
    path = tmp_path / "exports.json"
    newer = json.dumps({"boot_id": boot_id(), "version": 2, "exports": {}})
    path.write_text(newer)

    with pytest.raises(EngineError, match=r"exports\.json is of version 2, and this agent knows 1"):
        export_file.ExportFile(path)
    assert path.read_text() == newer


def test_nobody_else_reads_the_secrets_of_exports(tmp_path: Path) -> None:
    path = tmp_path / "exports.json"
    export_file.ExportFile(path).add([LEASE])

    assert SECRET in json.loads(path.read_text())["leases"][0]["name"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_exports_name_tells_all_that_a_head_has_to_know() -> None:
    export = iscsi_names.parse_export(LEASE.name)

    assert (export.dextid, export.epoch, export.secret) == (12, 3, SECRET)
    assert iscsi_names.target(7, 3) == "iqn.2010-07.org.vastsky:group.00000007.00000003"
    assert iscsi_names.serial(12, 7, 3) == "0000000c0000000700000003"
    with pytest.raises(ValueError, match="does not name an export"):
        iscsi_names.parse_export("12.3")
