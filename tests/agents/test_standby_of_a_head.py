"""Who looks after volumes of the kernel engine: the agent, or what it left for when it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.engines.base import DeviceAccess, EngineError
from agents.engines.kernel import standby
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.standby import Standby
from agents.engines.userspace.process import spawn
from agents.struct_codec import to_struct
from deploy.local import observe

AGENT = """
import json, signal, sys
from agents.engines.kernel import standby
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.standby import Standby
from agents.struct_codec import from_struct
standby.SEE_SECONDS = 0.1
one = Standby(from_struct(HeadPlace, json.loads(sys.argv[1])))
one.take_over()
one.start()
print("looks after volumes", flush=True)
signal.pause()
"""
SECONDS = 60


@pytest.fixture
def place(tmp_path: Path) -> Iterator[HeadPlace]:
    place = HeadPlace(str(tmp_path), str(tmp_path / "links"), 3260, DeviceAccess())
    yield place
    Standby(place).end()


@contextmanager
def agent(place: HeadPlace) -> Iterator[subprocess.Popen[str]]:
    """What an agent does with its standby, in a process that can be killed; the standby waits."""
    command = [sys.executable, "-c", AGENT, json.dumps(to_struct(place))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=spawn.PACKAGE_ROOT
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "looks after volumes\n"
            observe.wait(lambda: standby_of(place) != 0, "a standby waits", SECONDS)
            yield process
        finally:
            process.kill()


def standby_of(place: HeadPlace) -> int:
    """The number of the process that waits; 0 if there is none."""
    holder = spawn.lock_holder(str(Path(place.state_dir) / "standby.lock"))
    return holder.pid if holder else 0


def test_a_standby_goes_on_when_an_agent_is_killed_and_ends_for_the_next(place: HeadPlace) -> None:
    log = Path(place.state_dir) / "standby.log"
    with agent(place):
        first = standby_of(place)
        assert log.read_text() == ""

    observe.wait(lambda: "looks after the volumes" in log.read_text(), "it goes on", SECONDS)

    with agent(place):
        observe.wait(lambda: standby_of(place) not in {0, first}, "another one waits", SECONDS)
        assert log.read_text().count("looks after the volumes") == 1


def test_a_standby_that_was_killed_is_replaced(place: HeadPlace) -> None:
    with agent(place):
        killed = standby_of(place)

        os.kill(killed, signal.SIGKILL)

        observe.wait(lambda: standby_of(place) not in {0, killed}, "another one waits", SECONDS)


def test_two_agents_do_not_look_after_the_same_volumes(
    place: HeadPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "TAKE_SECONDS", 0)
    with agent(place), pytest.raises(EngineError, match="another agent looks after"):
        Standby(place).take_over()
