"""Somebody who calls the managers again and again, from a machine with the command `vastsky`."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.packages.machines import Machine

CALLER = Path(__file__).with_name("caller.py")
BEGIN = (
    "systemd-run --unit=caller -p KillMode=mixed -p StandardOutput=truncate:/root/called"
    " -E HOME=/root python3 /root/caller.py"
)
"""Nobody but the caller is told to end: the call that it has begun it brings to its end."""
LOG = "journalctl -u caller --no-pager | tail -20"
MORE = 10
"""Calls; each takes some tenths of a second, or seconds where others use this machine."""
WAIT_SECONDS = 300.0


@dataclass(slots=True)
class Calls:
    """What a caller has been answered so far."""

    machine: Machine

    def begin(self, volume: str, head: str) -> None:
        """Begin to make a volume, and to attach and detach it."""
        shutil.copy(CALLER, self.machine.inside("/root"))
        self.machine.run(f"{BEGIN} {volume} {head}")
        self.go_on()

    def go_on(self) -> None:
        """Wait until some more calls have been answered."""
        enough = f"[ $(wc -l < called) -ge {len(self._answered()) + MORE} ]"
        alive = f"systemctl is-active -q caller || {{ {LOG}; exit 1; }}"
        self.machine.run(f"until {enough}; do {alive}; sleep 1; done", seconds=WAIT_SECONDS)

    def end(self) -> None:
        """See that each call found what the one before it had been answered for."""
        self.machine.run("systemctl stop caller")
        answered = self._answered()
        longest = max(answered, key=lambda line: float(line.split()[0]))
        print(f"caller: {len(answered)} calls, the longest: {longest}")
        assert " delete " in answered[-1], self.machine.run(LOG)

    def _answered(self) -> list[str]:
        return self.machine.inside("/root/called").read_text().splitlines()
