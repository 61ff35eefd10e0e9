"""The fork server: code of head processes, loaded once and forked for each, for an agent's life.

One is forked in advance, so that an attach needs not wait for it.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence

from agents.engines.userspace.head import head_process
from agents.engines.userspace.head.state_file import SavedGroup
from agents.engines.userspace.process import memory, spawn
from agents.engines.userspace.process.dialogue import (
    KINDS,
    GroupReply,
    HeadArguments,
    TakenDown,
)
from agents.struct_codec import from_struct, learn

ORDER_BYTES = 64 << 10
QUIET_SECONDS = 0.1
"""From an order to the next fork: the process that has the order needs the processors now."""


def main() -> None:
    """Run as the process that `spawn.run` began."""
    orders = socket.socket(fileno=int(sys.argv[2]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what is forked here
    memory.keep_for_payloads()
    memory.serve_writeback()  # for all that are forked
    learn(HeadArguments, SavedGroup, GroupReply, TakenDown, *KINDS.values())
    gc.freeze()
    while True:
        select.select([orders], [], [], QUIET_SECONDS)
        standby = _fork(orders)
        order, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES, 1)
        if not order:
            return
        while not _hand_on(standby, order, descriptors):
            standby = _fork(orders, descriptors)  # somebody killed that one
        os.close(descriptors[0])


def _fork(orders: socket.socket, descriptors: Sequence[int] = ()) -> socket.socket:
    """Fork a head process that waits for its order; gives the socket that it hears on.

    Until then it does what is alike for all, which is a good part of what an attach takes.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    # As long as anybody held it, the agent would not notice that the fork server is gone.
    orders.close()
    ours.close()
    for descriptor in descriptors:
        os.close(descriptor)
    os.setsid()
    reactor = head_process.prepare()
    order, descriptors, _, _ = socket.recv_fds(theirs, ORDER_BYTES, 1)
    theirs.close()
    if order:  # else the fork server is gone
        arguments = from_struct(HeadArguments, json.loads(order))
        head_process.main(reactor, arguments, spawn.settle(descriptors[0], arguments.log))
    # Whoever detaches waits for the end: it needs not wait for the interpreter's.
    os._exit(0)


def _hand_on(standby: socket.socket, order: bytes, descriptors: list[int]) -> bool:
    """Give a forked process its order; False if somebody killed it."""
    with standby:
        try:
            socket.send_fds(standby, [order], descriptors)
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True
