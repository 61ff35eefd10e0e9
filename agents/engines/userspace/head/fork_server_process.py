"""The fork server: code of head processes, loaded once and forked for each, for an agent's life."""

import gc
import json
import os
import signal
import socket
import sys

from agents.engines.userspace.head import head_process
from agents.engines.userspace.head.state_file import SavedGroup
from agents.engines.userspace.process import memory, spawn
from agents.engines.userspace.process.dialogue import (
    KINDS,
    GroupReply,
    HeadArguments,
    TakenDown,
)
from agents.structs import from_struct, learn

ORDER_BYTES = 64 << 10


def main() -> None:
    """Run as the process that `spawn.run` began."""
    orders = socket.socket(fileno=int(sys.argv[2]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for what is forked here
    memory.keep_for_payloads()
    memory.serve_writeback()  # for all that are forked
    learn(HeadArguments, SavedGroup, GroupReply, TakenDown, *KINDS.values())
    gc.freeze()
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, ORDER_BYTES, 1)
        if not order:
            return
        if not os.fork():
            # As long as anybody held it, the agent would not notice that the fork server is gone.
            orders.close()
            os.setsid()
            arguments = from_struct(HeadArguments, json.loads(order))
            head_process.main(arguments, spawn.settle(descriptors[0], arguments.log))
            # Whoever detaches waits for the end: it needs not wait for the interpreter's.
            os._exit(0)
        os.close(descriptors[0])
