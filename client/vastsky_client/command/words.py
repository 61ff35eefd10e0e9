"""The arguments that several commands share: how each is read and what completes it."""

from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from vastsky_client import operands
from vastsky_client.command.server_names import written
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument


def volumes(session: Session) -> list[str]:
    """Name all volumes."""
    return [volume["lvolname"] for volume in session.manager.list_logical_volumes()]


def origins(session: Session) -> list[str]:
    """Name the volumes that are no snapshots."""
    found = session.manager.list_logical_volumes()
    return [volume["lvolname"] for volume in found if not volume["associated_to"]]


def snapshots(session: Session) -> list[str]:
    """Name the snapshots."""
    found = session.manager.list_logical_volumes()
    return [volume["lvolname"] for volume in found if volume["associated_to"]]


def heads(session: Session) -> list[str]:
    """Name the head servers."""
    return session.names.everyone("hsvrid")


def storages(session: Session) -> list[str]:
    """Name the storage servers."""
    return session.names.everyone("ssvrid")


def servers(session: Session) -> list[str]:
    """Name all servers."""
    return [*heads(session), *storages(session)]


def disks(session: Session) -> list[str]:
    """Name all disks by server and path; by its id what shares these with another one."""
    rows = session.manager.list_physical_disks()
    named = [(session.names.label("ssvrid", row["ssvrid"]), row["local_path"]) for row in rows]
    count = Counter(named)
    return [
        f"{server}:{path}" if count[server, path] == 1 else written("pdskid", row["pdskid"])
        for (server, path), row in zip(named, rows, strict=True)
    ]


def places(session: Session) -> list[str]:
    """Name what holds replicas."""
    return [*storages(session), *disks(session)]


def everything(session: Session) -> list[str]:
    """Name what may die."""
    return [*servers(session), *disks(session)]


def jobs(session: Session) -> list[str]:
    """Number the open jobs."""
    return [str(job["eventid"]) for job in session.manager.list_jobs()]


def tokens(session: Session) -> Iterator[str]:
    """Name the tokens that are valid."""
    return (token["name"] for token in session.manager.list_tokens() if not token["revoked"])


VOLUME = Argument("VOLUME", "a volume: its name, or its id", operands.volume, volumes)
ORIGIN = Argument(
    "VOLUME", "a volume that is no snapshot: its name, or its id", operands.volume, origins
)
SNAPSHOT = Argument("SNAPSHOT", "a snapshot: its name, or its id", operands.volume, snapshots)
NAME = Argument("NAME", "up to 64 of -._a-zA-Z0-9; no other volume has it", operands.name)
GIB = Argument("GIB", "the capacity, in GiB", operands.whole_number)
HEAD = Argument(
    "HEAD", "a head server: its name, that of its host, or its id", operands.name, heads
)
STORAGE = Argument(
    "SERVER", "a storage server: its name, that of its host, or its id", operands.name, storages
)
SERVER = Argument(
    "SERVER", "a server: its name, that of its host, or its id", operands.name, servers
)
DISK = Argument("DISK", "a disk: its path, SERVER:PATH, or its id", operands.name, disks)
PLACE = Argument("PLACE", "a storage server or a disk", operands.name, places)
MORTAL = Argument(
    "PLACE",
    "a head server, a storage server or a disk, where no site or rack is given",
    operands.name,
    everything,
    optional=True,
)
JOB = Argument("JOB", "a job: its number", operands.whole_number, jobs)
TOKEN = Argument("NAME", "a token: its name", operands.name, tokens)
REDUNDANCY = Argument(
    "--redundancy", "replicas of the data, 2 to 9; 3 if not given", operands.whole_number, default=3
)
TAGS = Argument("--tags", "words that the disks must have, in one argument", default="")
KIND = Argument(
    "--kind", "which of two servers of one name", choices=("head", "storage"), default=""
)
EVENT_KIND = Argument("--event-kind", "an older name of --kind", hidden=True)
SITE = Argument("--site", "all storage servers of this site", default="")
RACK = Argument("--rack", "only those of this rack of the site", default="")
CONVERGE = Argument(
    "--converge", "what is there already, as it is asked for, is success", switch=True
)


def maybe(argument: Argument) -> Argument:
    """Let an argument be left out."""
    return replace(argument, optional=True, help=f"{argument.help}; all if not given")


def member(word: str) -> tuple[str, Any]:
    """Read NAME=TEXT or NAME:=VALUE, where VALUE is a whole number or a list of them."""
    name, sign, text = word.partition("=")
    if not sign or not name.rstrip(":").isidentifier():
        raise ArgumentTypeError(f"{word!r} is neither NAME=TEXT nor NAME:=NUMBER")
    if not name.endswith(":"):
        return name, text
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no whole number") from None
    return name[:-1], numbers if "," in text else numbers[0]


def some(word: str) -> int:
    """Read how many: one at least."""
    if not (number := operands.whole_number(word)):
        raise ArgumentTypeError("1 is the least")
    return number
