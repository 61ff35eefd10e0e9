"""Block devices of volumes on a real kernel: each scenario by itself, in a head of the lab."""

from typing import Any

import pytest

pytest.importorskip("tests.lab.capsule", reason="there is no lab of virtual machines here")

from tests.lab.inside import device_scenarios

MODULE = "tests.lab.inside.device_scenarios"
ROOM = {"writeback_goes_on_without_memory", "on_xfs_too"}
"""These write more than a guest of the lab has room for: `docs/testing.md` says how to run them."""


@pytest.mark.parametrize(
    "scenario",
    [one.__name__ for one in device_scenarios.SCENARIOS if one.__name__ not in ROOM],
)
def test_a_block_device(lab: Any, scenario: str) -> None:
    command = f"cd /src && python3 -m {MODULE} {scenario}"

    told = lab.heads[0].run(command, timeout=900)

    assert told.splitlines()[-1].startswith(f"ok {scenario}"), told
