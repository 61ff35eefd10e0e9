import os
import signal

from agents.protocol import LegState
from tests.engine.conftest import MakeLab
from tests.engine.lab import VOLUME, wait_until


def test_a_copy_left_out_at_the_attach_is_known_to_the_revived_group(make_lab: MakeLab) -> None:
    lab = make_lab((1, 1))
    lab.export(2)
    lab.stores[2].kill()
    for server in (0, 1):
        lab.export(server)
    lab.head.attach(lab.order(1, lab.mirrors(1, (0, 1, 2), 0, doubt=False)))

    os.kill(lab.head_pid, signal.SIGKILL)
    wait_until(lambda: not lab.head.groups()[0].alive)
    found = lab.states()

    assert found == {
        10: LegState.INSYNC,
        11: LegState.INSYNC,
        12: LegState.FAULTY,
        20: LegState.INSYNC,
        21: LegState.INSYNC,
        22: LegState.FAULTY,
    }
    lab.head.revive(VOLUME)
    assert lab.states() == found
