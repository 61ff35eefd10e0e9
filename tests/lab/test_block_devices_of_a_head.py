"""Block devices of volumes on a real kernel: each scenario by itself, in a head of the lab."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("tests.lab.capsule", reason="there is no lab of virtual machines here")

from tests.lab.cluster import KEPT
from tests.lab.inside import device_scenarios

MODULE = "tests.lab.inside.device_scenarios"


@pytest.fixture
def head(lab: Any) -> Iterator[Any]:
    """A head whose own agent rests: scenarios have one, and both would see to /dev/vas."""
    guest = lab.heads[0]
    guest.run("touch /run/no-agent; pkill -f '[m] agents head'")
    yield guest
    guest.run("rm /run/no-agent")


@pytest.mark.parametrize("scenario", [one.__name__ for one in device_scenarios.SCENARIOS])
def test_a_block_device(head: Any, scenario: str) -> None:
    command = f"cd /src && FOLDER={KEPT} python3 -m {MODULE} {scenario}"

    told = head.run(command, timeout=900)

    assert told.splitlines()[-1].startswith(f"ok {scenario}"), told
