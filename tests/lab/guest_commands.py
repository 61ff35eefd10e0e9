"""The lab's end of commands to guests: run one, push and pull bytes, sit at a terminal."""

import contextlib
import json
import os
import select
import shutil
import socket
import sys
import termios
import time
import tty
from dataclasses import dataclass

from tests.lab.place import CONTROL_PORT, GuestSpec


class CommandFailed(Exception):
    """A command in a guest ended with an error, or not in its time."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command in a guest ended."""

    status: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").strip()


def attempt(machine: GuestSpec, command: str, data: bytes = b"", timeout: float = 60) -> Result:
    """Run a command in a guest's bash, whatever its status; OSError if the guest does not hear."""
    wish = {"command": command, "input": len(data), "timeout": timeout}
    with _connect(machine) as connection:
        connection.settimeout(timeout + 30)
        connection.sendall(json.dumps(wish).encode() + b"\n" + data)
        with connection.makefile("rb") as answer:
            line = answer.readline()
            if not line:
                raise ConnectionResetError(f"{machine.name} hung up")
            told = json.loads(line)
            output, errors = answer.read(told["output"]), answer.read(told["errors"])
    return Result(told["status"], output, errors)


def run(machine: GuestSpec, command: str, data: bytes = b"", timeout: float = 60) -> str:
    """Run a command that has to succeed; what it says."""
    done = attempt(machine, command, data, timeout)
    if done.status:
        said = done.errors.decode(errors="replace").strip() or done.text
        raise CommandFailed(f"{machine.name}: {command}: status {done.status}: {said}")
    return done.text


def push(machine: GuestSpec, path: str, data: bytes) -> None:
    """Write a file in a guest."""
    run(machine, f"cat > '{path}'", data)


def pull(machine: GuestSpec, path: str) -> bytes:
    """Read a file in a guest."""
    done = attempt(machine, f"cat '{path}'")
    if done.status:
        raise CommandFailed(f"{machine.name}: {done.errors.decode()}")
    return done.output


def wait(machine: GuestSpec, seconds: float) -> bool:
    """Wait until a guest hears commands."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), _connect(machine, 1):
            return True
        time.sleep(0.2)
    return False


def converse(machine: GuestSpec) -> None:
    """Put this terminal into a guest, until its shell ends."""
    columns, rows = shutil.get_terminal_size()
    before = termios.tcgetattr(sys.stdin)
    with _connect(machine) as connection:
        connection.sendall(json.dumps({"terminal": [rows, columns]}).encode() + b"\n")
        try:
            tty.setraw(sys.stdin)
            _copy(connection)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _copy(connection: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([connection, sys.stdin], [], [])
        if connection in ready:
            data = connection.recv(65536)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if sys.stdin in ready:
            connection.sendall(os.read(sys.stdin.fileno(), 65536))


def _connect(machine: GuestSpec, timeout: float = 10) -> socket.socket:
    return socket.create_connection((machine.control, CONTROL_PORT), timeout)
