"""The web server: `python -m vastsky_site.serve --port 8881`."""

import argparse
import os
import resource
import signal
import ssl
import sys
import threading
from pathlib import Path

from django.conf import settings

from agents.reception.reception import Bounds, Reception
from agents.version import VERSION
from vastsky_site.api.bodies import SiteDoor
from vastsky_site.private import Taken, take_alone
from vastsky_site.wsgi import application

THREADS = 1000
"""Started when they are needed. vastsky_site.api.bodies says how many work at once; the others rest
until the database is back."""
WAITING = 4096
"""Connections that are not at work."""
SPARE_FILES = 512
"""For the database and calls to nodes."""
MOST_FILES = 1 << 16
END_SECONDS = 5.0


def main() -> int:
    """Serve the site until SIGTERM or SIGINT."""
    options = _options()
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        secure = _tls(options)
    except OSError as error:
        sys.stderr.write(f"vastsky: {options.certificate}: {error.strerror}\n")
        return 1
    try:
        held = [take_alone(folder) for folder in _folders()]
    except Taken as refusal:
        sys.stderr.write(f"vastsky: {refusal}; stop it, or choose another VASTSKY_HOME\n")
        return 1
    reception = Reception(SiteDoor(application), _bounds(), secure)
    try:
        reception.listen(options.host, options.port)
    except OSError as error:
        sys.stderr.write(f"vastsky: {options.host}:{options.port}: {error.strerror}\n")
        return 1
    reception.start()
    ending.wait()
    reception.stop(END_SECONDS)
    for lock in held:
        os.close(lock)
    sys.stderr.flush()
    os._exit(0)  # a call that waits for nodes would hold us up


class _Tls:
    """Reads the certificate anew for each connection, so that it can be replaced while we run."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self()

    def __call__(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(*self._files)
        return context


def _tls(options: argparse.Namespace) -> _Tls | None:
    if options.certificate:
        return _Tls(options.certificate, options.key or options.certificate)
    return None


def _folders() -> set[Path]:
    """Name what two managers must not share: the folder, and that of a database which is a file."""
    database = settings.DATABASES["default"]
    folders = {settings.VASTSKY_HOME}
    if "sqlite" in database["ENGINE"]:
        folders.add(Path(database["NAME"]).resolve().parent)
    return {folder.resolve() for folder in folders}


def _bounds() -> Bounds:
    """Take as many files as we may have; of those most are for connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if 0 < hard < MOST_FILES else MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return Bounds(threads=THREADS, waiting=max(64, min(WAITING, most - SPARE_FILES)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vastsky_site.serve", description="Serve the site.")
    parser.add_argument("--version", action="version", version=f"vastsky {VERSION}")
    parser.add_argument("--host", default=settings.VASTSKY_WEB_ADDRESS)
    parser.add_argument("--port", type=int, default=settings.VASTSKY_WEB_PORT)
    parser.add_argument("--certificate", type=Path, help="PEM; with it, over TLS 1.3")
    parser.add_argument("--key", type=Path, help="PEM; by default in the file of the certificate")
    options = parser.parse_args()
    if settings.VASTSKY_WEB_TLS and not options.certificate:
        if settings.VASTSKY_IDENTITY is None:
            parser.error("VASTSKY_WEB_TLS=1 needs VASTSKY_TLS_CERTIFICATE, _KEY and _AUTHORITY")
        options.certificate = settings.VASTSKY_IDENTITY.certificate
        options.key = settings.VASTSKY_IDENTITY.key
    return options


if __name__ == "__main__":
    sys.exit(main())
