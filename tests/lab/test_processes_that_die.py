"""Every kind of process is killed while somebody writes: nobody sees more than a pause."""

import pytest

from deploy.local import observe
from tests.lab import standing, volumes
from tests.lab.cluster import TIMEOUT, VirtualLab
from tests.lab.place import ENGINE
from tests.lab.using import STALL, in_use, keeps_writing, tell
from tests.lab.volumes import Writer

FORK_SERVER = (
    "for p in $(pgrep -f '[f]ork_server_process'); do"
    " grep -q '^vas-' /proc/$p/comm || kill -9 $p; done"
)
"""The processes of volumes have its command line, but names of their own."""
AGENT = "pkill -9 -f '[m] agents head'"
OF_VOLUMES = {
    "fork server": ("head", FORK_SERVER),
    "process of the volume": ("head", "pkill -9 '^vas-'"),
    "agent and process of the volume": ("head", f"{AGENT}; pkill -9 '^vas-'"),
}
OF_STANDBY = {"agent and its standby": ("head", f"{AGENT}; pkill -9 '^vas-' || true")}
"""The kernel engine has no processes for volumes, but one that waits for the agent's end."""
KILLS = {
    "agent of the head": ("head", AGENT),
    **(OF_STANDBY if ENGINE == "kernel" else OF_VOLUMES),
    "agent of a storage server": ("storage", "pkill -9 -f '[m] agents storage'"),
    "data server": ("storage", "pkill -9 -f '[d]ata_server_process'"),
    "all of a storage server": ("storage", "pkill -9 -f '[a]gents'"),
}


@pytest.mark.parametrize("what", KILLS)
def test_a_kill_is_a_short_pause(lab: VirtualLab, what: str) -> None:
    head = lab.heads[0]
    role, command = KILLS[what]
    with in_use(lab, head):
        guest = head if role == "head" else standing.holders(lab, "db")[0]
        writer = Writer(head)
        keeps_writing(head)

        for _ in range(2):
            guest.run(command)
            keeps_writing(head, 10)
        written = writer.stop()
        observe.wait(lambda: standing.is_whole(lab, "db"), "whole again", TIMEOUT)

        tell(f"a kill of the {what}", written)
        assert written.error == ""
        assert written.longest < STALL
        volumes.verify(head, written)
