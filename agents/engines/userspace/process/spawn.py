"""Starting an engine process that outlives its agent, and knowing whether it still runs."""

import contextlib
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from agents.engines.base import EngineError
from agents.engines.userspace.process.dialogue import (
    LOCK_VERSION,
    DataServerArguments,
    LockHolder,
    unpack_reply,
)
from agents.struct_codec import from_struct, to_struct

T = TypeVar("T")
Report = Callable[[dict[str, Any]], None]

PACKAGE_ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 4))
LONGEST_SOCKET_PATH = 107


def start(module: str, arguments: DataServerArguments, kind: type[T], timeout: float) -> T:
    """Run `module.main` in a process of its own; gives what it reports, or raises its error."""
    receiver, sender = os.pipe()
    try:
        try:
            run(module, sender, json.dumps(to_struct(arguments)))
        finally:
            os.close(sender)
        return await_report(receiver, kind, timeout)
    finally:
        os.close(receiver)


def run(module: str, descriptor: int, *arguments: str) -> None:
    """Run `module.main` in a process that outlives this one, forked twice; it gets `descriptor`.

    Bare options (-I -S): site-packages and environment are nothing to an engine process.
    """
    program = (
        f"import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]);"
        f" from agents.engines.userspace.{module} import main; main()"
    )
    command = [sys.executable, "-I", "-S", "-c", program, PACKAGE_ROOT, str(descriptor)]
    with subprocess.Popen(
        [*command, *arguments],
        pass_fds=(descriptor,),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        pass


def await_report(receiver: int, kind: type[T], timeout: float) -> T:
    """Wait for what a new process reports; gives its value or raises its EngineError."""
    return unpack_reply(kind, _read_report(receiver, time.monotonic() + timeout))


def _read_report(receiver: int, deadline: float) -> object:
    pieces = []
    while True:
        ready, _, _ = select.select([receiver], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise EngineError(errno.ETIMEDOUT, "the engine process did not get ready")
        piece = os.read(receiver, 1 << 20)
        if not piece:
            break
        pieces.append(piece)
    if not pieces:
        raise EngineError(errno.EIO, "the engine process died at its start; see its log")
    return json.loads(b"".join(pieces))


def settle(sender: int, log_path: str) -> Report:
    """In the new process: become a daemon; gives the way to report, once."""
    os.chdir("/")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection for each replica
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    os.close(log)
    fcntl.fcntl(sender, fcntl.F_SETFD, fcntl.FD_CLOEXEC)

    def report(result: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(sender, json.dumps(result).encode())
        os.close(sender)

    return report


def take_lock(path: str, content: LockHolder) -> bool:
    """Hold the lock file for as long as this process lives; False when another one holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(to_struct(content)).encode(), 0)
    return True


def lock_holder(path: str) -> LockHolder | None:
    """Tell what the living holder of a lock file wrote into it; None when nobody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = from_struct(LockHolder, json.loads(os.pread(descriptor, 4096, 0) or b"{}"))
        if holder.version > LOCK_VERSION:
            raise EngineError(
                errno.EPROTONOSUPPORT,
                f"{path} is of version {holder.version}: a newer agent's process holds it",
            ) from None
        return holder
    finally:
        os.close(descriptor)
    return None


def await_end(path: str, seconds: float) -> bool:
    """Wait until nobody holds the lock file."""
    deadline = time.monotonic() + seconds
    while lock_holder(path) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def kill(path: str) -> None:
    """End the holder of a lock file for good."""
    holder = lock_holder(path)
    if holder is not None and holder.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)
        await_end(path, 5)


def listen(path: str) -> socket.socket:
    """Open a control socket that only this user can reach."""
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o077)
    try:
        listener.bind(path)
    finally:
        os.umask(previous)
    listener.listen(64)
    return listener
