"""A replica's device on a head of the kernel engine: what a look at its paths tells."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.engines.kernel import device_mapper, replica_device
from agents.engines.kernel.replica_device import ReplicaDevice, Seen

FAILED = "2 0 0 0 1 1 A 0 1 2 8:16 F 1 0 1"
"""What the device mapper tells of a device whose only path has failed."""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of the path's session, which is there; the disk behind it answers with errors."""
    state = tmp_path / "8:16" / "device" / "state"
    state.parent.mkdir(parents=True)
    state.write_text("running\n")
    monkeypatch.setattr(replica_device, "BY_NUMBER", tmp_path)
    monkeypatch.setattr(device_mapper, "status", lambda _name: [FAILED])
    return state


@pytest.fixture
def while_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have something happen while a path is read; what is read is no disk."""

    def set_to(happens: Callable[[], object]) -> None:
        def node(_path: str) -> str:
            happens()
            return str(tmp_path / "none")

        monkeypatch.setattr(replica_device, "_node", node)

    return set_to


def test_a_disk_fails_that_cannot_be_read_while_its_session_is_there(
    session: Path, while_read: Callable[..., None]
) -> None:
    while_read(lambda: None)

    assert ReplicaDevice("vas-replica-1-1", 0).look() == Seen(lost=False, fails=True, moves=True)


def test_a_session_that_goes_while_a_path_is_read_is_no_failure_of_the_disk(
    session: Path, while_read: Callable[..., None]
) -> None:
    while_read(lambda: session.write_text("transport-offline\n"))

    assert ReplicaDevice("vas-replica-1-1", 0).look() == Seen(lost=True, fails=False, moves=False)
