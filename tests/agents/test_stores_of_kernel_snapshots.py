"""A snapshot of the kernel engine whose store is out of reach: how long its origin waits for it."""

import time
from typing import Any

import pytest

from agents.engines.kernel import device_mapper, kernel_snapshot
from agents.engines.kernel.kernel_snapshot import TIMEOUT_SECONDS, KernelSnapshot
from agents.engines.kernel.kernel_state import Overview
from agents.engines.userspace.head.state_file import SavedDevice

SEEN = Overview({}, {})


class Waiting:
    """A kernel in which requests wait in a store that is lost, and its clock."""

    def __init__(self) -> None:
        self.is_lost = True
        self.now = 100.0
        self.in_flight = True
        self.status = "8/800 8"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    kernel = Waiting()
    monkeypatch.setattr(kernel_snapshot, "_in_flight", lambda _: kernel.in_flight)
    monkeypatch.setattr(device_mapper, "status", lambda _: [kernel.status])
    monkeypatch.setattr(time, "monotonic", lambda: kernel.now)
    return kernel


@pytest.fixture
def snapshot(kernel: Waiting) -> KernelSnapshot:
    saved = SavedDevice(7, ("then",), 1, ())
    store: Any = kernel
    return KernelSnapshot(saved, 1, [store], arriving=False)


def is_over_after_its_timeout(
    snapshot: KernelSnapshot, kernel: Waiting, *, origin_waits: bool = False
) -> bool:
    assert not snapshot.is_over(SEEN, origin_waits=origin_waits)
    kernel.now += TIMEOUT_SECONDS + 1
    return snapshot.is_over(SEEN, origin_waits=origin_waits)


def test_an_origin_waits_for_a_store_no_longer_than_its_timeout(
    snapshot: KernelSnapshot, kernel: Waiting
) -> None:
    assert is_over_after_its_timeout(snapshot, kernel)


def test_while_the_origin_is_out_of_reach_too_no_snapshot_is_given_up(
    snapshot: KernelSnapshot, kernel: Waiting
) -> None:
    assert not is_over_after_its_timeout(snapshot, kernel, origin_waits=True)


def test_a_store_for_which_nothing_waits_may_stay_away(
    snapshot: KernelSnapshot, kernel: Waiting
) -> None:
    kernel.in_flight = False

    assert not is_over_after_its_timeout(snapshot, kernel)


def test_what_the_kernel_itself_gave_up_is_over_at_once(
    snapshot: KernelSnapshot, kernel: Waiting
) -> None:
    kernel.status = "Invalid"

    assert snapshot.is_over(SEEN, origin_waits=False)
