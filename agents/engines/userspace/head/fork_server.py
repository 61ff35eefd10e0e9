"""The agent's handle on its fork server: a process of which head processes are forked."""

import json
import os
import socket
import threading

from agents.engines.userspace.process import spawn
from agents.engines.userspace.process.dialogue import HeadArguments
from agents.protocol import ReplicaReport
from agents.struct_codec import to_struct


class ForkServer:
    """Starts head processes without loading their code anew: that takes longer than to assemble.

    It ends with the agent, so it never has other code than the agent; what was forked
    of it goes on.
    """

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._orders: socket.socket | None = None

    def start(self, arguments: HeadArguments, timeout: float) -> tuple[ReplicaReport, ...]:
        """Have a head process forked; gives the replicas that it reports, or raises its error."""
        receiver, sender = os.pipe()
        try:
            try:
                self._send(json.dumps(to_struct(arguments)).encode(), sender)
            finally:
                os.close(sender)
            return spawn.await_report(receiver, tuple[ReplicaReport, ...], timeout)
        finally:
            os.close(receiver)

    def __del__(self) -> None:
        if self._orders is not None:
            self._orders.close()

    def _send(self, order: bytes, sender: int) -> None:
        with self._alone:
            if self._orders is not None:
                try:
                    socket.send_fds(self._orders, [order], [sender])
                except (BrokenPipeError, ConnectionResetError):
                    self._orders.close()  # somebody killed it: the next one is as good
                else:
                    return
            self._orders = _launch()
            socket.send_fds(self._orders, [order], [sender])


def _launch() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        spawn.run("head.fork_server_process", theirs.fileno())
    return ours
