"""A guest's end of the lab's commands: one connection a command. Standard library only.

A command is a line of JSON, then as many bytes for its standard input as the line says. Commands
run in bash. The answer is a line of JSON, then standard output and standard error. A command with
`terminal` gets a terminal of its own instead, whose bytes are all that follows.
"""

import contextlib
import fcntl
import json
import os
import pty
import selectors
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import termios

BASH = "/bin/bash"


class Command(socketserver.StreamRequestHandler):
    """One command."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return
        wish = json.loads(line)
        if "terminal" in wish:
            _converse(self.connection, *wish["terminal"])
            return
        data = self.rfile.read(wish["input"])
        status, output, errors = _run(wish["command"], data, wish["timeout"])
        told = {"status": status, "output": len(output), "errors": len(errors)}
        self.wfile.write(json.dumps(told).encode() + b"\n" + output + errors)


class Server(socketserver.ThreadingTCPServer):
    """Takes commands, any number at once."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


def _run(command: str, data: bytes, timeout: float) -> tuple[int, bytes, bytes]:
    process = subprocess.Popen(
        [BASH, "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(data, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return -signal.SIGALRM, b"", f"still running after {timeout:g} s".encode()
    return process.returncode, output, errors


def _converse(connection: socket.socket, rows: int, columns: int) -> None:
    """Give the other end a shell in a terminal, until either ends."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(BASH, [BASH, "-l"], {**os.environ, "TERM": "xterm", "PS1": r"\h:\w\$ "})  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    ends = {connection.fileno(): terminal, terminal: connection.fileno()}
    with selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
        for end in ends:
            ready.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                data = os.read(key.fd, 65536)
                if not data:
                    raise ConnectionResetError
                os.write(ends[key.fd], data)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGHUP)
    os.close(terminal)
    os.waitpid(child, 0)


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), Command).serve_forever()
