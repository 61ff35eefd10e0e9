"""A process that looks after this head's volumes while no agent does.

When a member of a mirror fails, md holds writes back until the failure is noted; an agent that
ended, or is being started anew, would have users wait. So each agent leaves a standby, which does
nothing but wait for the lock that the agent holds for as long as it lives, and then does that part
of the agent's work. The next agent ends it first.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel.attached_groups import AttachedGroups
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.userspace.process import spawn
from agents.engines.userspace.process.dialogue import LockHolder
from agents.struct_codec import from_struct, to_struct

logger = logging.getLogger(__name__)

SEE_SECONDS = 10.0
START_SECONDS = 5.0
END_SECONDS = 5.0
TAKE_SECONDS = 10.0
ONE_SECONDS = 2.0
POLL_SECONDS = 0.05
NAME = "vas-standby"
PROGRAM = (
    "import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]);"
    " from agents.engines.kernel.standby import main; main(sys.argv[2])"
)


class Standby:
    """An agent's hold on its volumes, and on the process that waits to take its place."""

    def __init__(self, place: HeadPlace) -> None:
        self._place = place
        self._process = str(Path(place.state_dir) / "standby.lock")
        self._holder = str(Path(place.state_dir) / "kernel.lock")

    def take_over(self) -> None:
        """End a standby, and be the one who looks after the volumes."""
        Path(self._place.state_dir).mkdir(parents=True, exist_ok=True)
        self.end()
        if not _take(self._holder, TAKE_SECONDS):
            raise EngineError(
                errno.EBUSY, f"{self._holder}: another agent looks after this head's volumes"
            )

    def start(self) -> None:
        """See from now on that there is a standby, which outlives this process."""
        threading.Thread(target=self._keep, name="standby", daemon=True).start()

    def _keep(self) -> None:
        pause = threading.Event()
        while True:
            if spawn.lock_holder(self._process) is None:
                self._spawn()
                self._await_start()
            pause.wait(SEE_SECONDS)

    def _spawn(self) -> None:
        place = json.dumps(to_struct(self._place))
        command = [sys.executable, "-I", "-S", "-c", PROGRAM, spawn.PACKAGE_ROOT, place]
        with subprocess.Popen(
            command,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ):
            pass

    def _await_start(self) -> None:
        """Wait for one that was started, lest another one is started beside it."""
        deadline = time.monotonic() + START_SECONDS
        while spawn.lock_holder(self._process) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """End the standby, if there is one; whatever it was doing, somebody else does it again."""
        holder = spawn.lock_holder(self._process)
        if holder is not None and holder.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGTERM)
            if not spawn.await_end(self._process, END_SECONDS):
                spawn.kill(self._process)

    def wait(self) -> bool:
        """In the standby: wait until no agent lives; False where another standby waits."""
        if not _take(self._process, ONE_SECONDS):
            return False
        held = os.open(self._holder, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        return True


def _take(lock: str, seconds: float) -> bool:
    """Take a lock, which whoever looks at its holder has for a moment, too."""
    deadline = time.monotonic() + seconds
    while not spawn.take_lock(lock, LockHolder(os.getpid())):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def main(told: str) -> None:
    """Be the standby."""
    place = from_struct(HeadPlace, json.loads(told))
    _settle(place)
    if Standby(place).wait():
        logger.warning("there is no agent: its standby looks after the volumes")
        AttachedGroups(place).watch()
        threading.Event().wait()


def _settle(place: HeadPlace) -> None:
    """Become a daemon, with a name and a log."""
    os.chdir("/")
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(NAME)
    log = Path(place.state_dir) / "standby.log"
    logging.basicConfig(filename=log, format="%(asctime)s %(levelname)s %(message)s")
