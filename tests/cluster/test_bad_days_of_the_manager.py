"""Web, worker and broker that die at the worst moment: no job is lost, none has two effects."""

import signal
import socket
import time
from contextlib import suppress
from xmlrpc.client import Fault

from deploy.local import broker
from tests.cluster.world import World

EEXIST = 17
HANGS = 20
"""Seconds that these calls do not take, on any machine, unless they wait for what hangs."""
UNBOUND, BOUND, BINDING = (0, 0), (1, 0), 1


def test_manager_killed_while_it_attaches(world: World) -> None:
    world.create("orphaned")
    world.cluster.signal("head-1", signal.SIGSTOP)
    attaching = world.background.submit(world.attach, "orphaned")
    world.wait(lambda: world.state("orphaned")[1] == BINDING, "the attach is under way")

    for part in ("web", "worker", "beat"):
        world.cluster.kill(part)
    world.cluster.signal("head-1", signal.SIGCONT)
    with suppress(OSError, Fault):
        attaching.result(60)
    world.repair()

    # The dead worker's lease of the job has to run out first.
    world.wait(lambda: world.state("orphaned") == BOUND, "attached after all", 90)
    with world.open("orphaned") as device:
        device.write(0, b"x" * 4096)


def test_worker_killed_in_the_middle_of_a_step(world: World) -> None:
    world.create("unfinished")
    world.cluster.signal("head-1", signal.SIGSTOP)
    attaching = world.background.submit(world.attach, "unfinished")
    world.wait(lambda: world.state("unfinished")[1] == BINDING, "the attach is under way")

    world.cluster.kill("worker")
    world.cluster.signal("head-1", signal.SIGCONT)
    world.cluster.launch("worker")

    attaching.result(60)
    assert world.settle("unfinished") == BOUND


def test_the_api_works_without_a_broker_and_nothing_is_lost(world: World) -> None:
    world.cluster.kill("broker")

    world.create("unheard")
    world.attach("unheard")
    assert world.verify("unheard", world.fill("unheard"))
    world.detach("unheard")
    world.delete("unheard")
    assert not world.zeroed()
    world.cluster.launch("broker")

    world.wait(world.zeroed, "the shreds that nobody was told of are done", 60)


def test_nobody_waits_for_a_broker_that_hangs(world: World) -> None:
    world.cluster.signal("broker", signal.SIGSTOP)
    began = time.monotonic()

    world.create("unheard")
    world.attach("unheard")
    world.detach("unheard")
    world.delete("unheard")

    assert time.monotonic() - began < HANGS
    world.cluster.signal("broker", signal.SIGCONT)
    world.wait(world.zeroed, "the shreds that nobody was told of are done", 60)


def test_broker_emptied_again_and_again(world: World) -> None:
    world.create("forgotten")

    attaching = world.background.submit(world.attach, "forgotten")
    while not attaching.done():
        _flush(world)

    attaching.result()
    assert world.settle("forgotten") == BOUND


def test_two_clients_create_the_same_name_at_once(world: World) -> None:
    attempts = [world.background.submit(world.create, "wanted") for _ in range(8)]

    outcomes = [attempt.exception(30) for attempt in attempts]

    faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
    assert outcomes.count(None) == 1
    assert [fault.faultCode for fault in faults] == [EEXIST] * 7


def test_attach_ordered_five_times_at_once_attaches_once(world: World) -> None:
    world.create("eager")

    attempts = [world.background.submit(world.attach, "eager") for _ in range(5)]

    assert [attempt.exception(60) for attempt in attempts].count(None) == 1
    assert world.settle("eager") == BOUND
    assert world.verify("eager", world.fill("eager"))


def _flush(world: World) -> None:
    assert broker.answers(world.place)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(world.place.broker_socket))
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64).startswith(b"+OK")
