"""The manager's folder is its own: nothing in it is open to others, one web server serves it."""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

OTHERS = 0o077
FOLDERS = ("backups", "logs", "redis")
"""Nodes look after their own folders, sockets have their modes, certificates are for everybody."""


class Taken(Exception):
    """Another web server serves from here."""


def keep_private(home: Path) -> None:
    """Open what this process writes to nobody else, and take back what an older version opened."""
    os.umask(OTHERS)
    status = home.stat()
    if status.st_uid != os.getuid() or status.st_mode & stat.S_ISVTX:
        return  # a folder that is shared on purpose, such as /tmp
    _close(home)
    for path in home.iterdir():
        if path.is_file() and not path.is_symlink():
            _close(path)
    for name in FOLDERS:
        _close(home / name)
        for path in (home / name).rglob("*"):
            _close(path)


def take_alone(folder: Path) -> int:
    """Be the only web server of a folder for as long as this process lives; Taken if there is one.

    Nothing removes the file: its lock counts, and that ends with its holder.
    """
    lock = os.open(folder / "web.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode().strip() or "?"
        os.close(lock)
        raise Taken(f"a web server serves from {folder} already (pid {holder})") from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _close(path: Path) -> None:
    with suppress(OSError):  # gone meanwhile, or somebody else's
        mode = path.lstat().st_mode
        if mode & OTHERS and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
