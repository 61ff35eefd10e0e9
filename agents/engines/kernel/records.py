"""open-iscsi's records of whom a head may log in to, as who, and with which settings.

    ifaces/INTERFACE                             who the head is
    nodes/TARGET/ADDRESS,PORT,GROUP/INTERFACE    the target over that address, the password with it

They are written as `iscsiadm` writes them, but at once: it would be started three times for each
address, to make a record and then to change it. What they do not say has iscsid's defaults.
"""

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.engines.base import EngineError
from agents.engines.kernel import iscsi_names

ROOTS = (Path("/var/lib/iscsi"), Path("/etc/iscsi"))
"""Where distributions have them: the first one that has nodes."""
SETTINGS = {
    "node.startup": "manual",
    "node.session.auth.authmethod": "CHAP",
    "node.session.auth.username": iscsi_names.USER,
    "node.session.initial_login_retry_max": "1",
    "node.session.timeo.replacement_timeout": "3",
    "node.session.scan": "auto",
    "node.conn[0].startup": "manual",
    "node.conn[0].timeo.login_timeout": "5",
    "node.conn[0].timeo.noop_out_interval": "2",
    "node.conn[0].timeo.noop_out_timeout": "2",
}
"""A server that is gone is noticed after 2 + 2 s, and its paths fail 3 s later."""


def write(lvolid: int, epoch: int, secret: str, portals: Sequence[str]) -> None:
    """Have a record for each of these portals, ADDRESS:PORT, of the target of an epoch."""
    interface = iscsi_names.interface(lvolid, epoch)
    who = {
        "iface.iscsi_ifacename": interface,
        "iface.transport_name": "tcp",
        "iface.initiatorname": iscsi_names.initiator(lvolid, epoch),
    }
    try:
        _put(_root() / "ifaces" / interface, who)
        for portal in portals:
            address, _, port = portal.rpartition(":")
            place = _nodes(lvolid, epoch) / f"{address},{port},{iscsi_names.PORTAL_GROUP}"
            record = {
                "node.name": iscsi_names.target(lvolid, epoch),
                "node.tpgt": str(iscsi_names.PORTAL_GROUP),
                "node.conn[0].address": address,
                "node.conn[0].port": port,
                "node.session.auth.password": secret,
            }
            _put(place / interface, who | record | SETTINGS)
    except OSError as error:
        what = f"group {lvolid}: records of open-iscsi: {error.filename}: {error.strerror}"
        raise EngineError(error.errno or errno.EIO, what) from None


def remove(lvolid: int, epoch: int) -> None:
    """Leave no record of an epoch."""
    shutil.rmtree(_nodes(lvolid, epoch), ignore_errors=True)
    for link in _root().glob(
        f"static/{iscsi_names.target(lvolid, epoch)},*"
    ):  # `iscsiadm` made them
        link.unlink(missing_ok=True)
    (_root() / "ifaces" / iscsi_names.interface(lvolid, epoch)).unlink(missing_ok=True)


def _root() -> Path:
    return next((root for root in ROOTS if (root / "nodes").is_dir()), ROOTS[-1])


def _nodes(lvolid: int, epoch: int) -> Path:
    return _root() / "nodes" / iscsi_names.target(lvolid, epoch)


def _put(path: Path, record: Mapping[str, str]) -> None:
    """Write a record, readable by nobody else; whoever reads all of them never sees half of one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = _root() / f".{path.parent.name}-{path.name}"
    with open(new, "w", encoding="utf-8", opener=_open_private) as file:
        file.writelines(f"{name} = {value}\n" for name, value in record.items())
    new.replace(path)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
