"""The agent's handle on its template: a process of which head processes are forked."""

import json
import os
import socket
import threading
from typing import Any

from agents.engines.userspace.process import spawn


class Template:
    """Starts head processes without loading their code anew: that takes longer than to assemble.

    The template ends with the agent, so it never has other code than the agent; what was forked
    of it goes on.
    """

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._orders: socket.socket | None = None

    def start(self, arguments: dict[str, Any], timeout: float) -> Any:
        """Have a head process forked; gives what it reports once ready, or its Fault."""
        receiver, sender = os.pipe()
        try:
            try:
                self._send(json.dumps(arguments).encode(), sender)
            finally:
                os.close(sender)
            return spawn.await_report(receiver, timeout)
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
