"""Making a group's devices reachable: a unix socket each, and links by all their names."""

import errno
import os
from collections.abc import Sequence
from functools import partial

from agents.engines.base import DeviceAccess, EngineError
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.nbd import messages
from agents.engines.userspace.nbd.handshake import ExportTable
from agents.engines.userspace.nbd.server import Listener
from agents.engines.userspace.nbd.tally import RequestTally


def socket_path(run_dir: str, lvolid: int) -> str:
    """Name the socket of a device."""
    return f"{run_dir}/v{lvolid:08x}.sock"


def epoch_export(epoch: int) -> str:
    """Name what a group's process serves in one epoch only; no volume can have such a name.

    A socket is named by its volume. Who has to go on with the same epoch, or not at all, asks for
    this: the kernel does, for a device whose connection was lost.
    """
    return f"epoch/{epoch}"


class PublishedDevice:
    """A device that clients can open, by any of its labels, by none, or by its epoch."""

    def __init__(
        self,
        reactor: Reactor,
        device: messages.ServedDevice,
        path: str,
        labels: Sequence[str],
        epoch: int,
        access: DeviceAccess,
    ) -> None:
        self._device = device
        self._path = path
        self._labels = labels
        names = {"", epoch_export(epoch), *labels}
        self.tally = RequestTally()
        self._exports = ExportTable(
            lambda name: device if name in names else None,
            partial(list, labels),
            tally=lambda _device: self.tally,
        )
        self._listener = Listener(reactor, path, self._exports, access)

    @property
    def clients(self) -> int:
        """Count who has the device open."""
        return self._exports.clients(self._device)

    def link(self, links_dir: str) -> None:
        """Publish the links; only now can the device be found by name."""
        os.makedirs(links_dir, exist_ok=True)
        for label in self._labels:
            make_link(f"{links_dir}/{label}", self._path)

    def withdraw(self, links_dir: str) -> None:
        """Take links and socket away; whoever is still in the handshake is turned away."""
        remove_links(links_dir, self._labels, self._path)
        self._listener.close()
        for connection in list(self._exports.connections):
            connection.close("no longer served")


def check_labels(labels: Sequence[str]) -> None:
    """Refuse names that would lead out of the folder of links."""
    for label in labels:
        if not label or "/" in label or "\0" in label or label in {".", ".."}:
            raise EngineError(errno.EINVAL, f"not a name for a link: {label!r}")


def make_link(link: str, target: str) -> None:
    """Point a link to the target at once, whatever it pointed to."""
    if os.path.lexists(link) and not os.path.islink(link):
        raise EngineError(errno.EEXIST, f"{link} is in the way")
    new = f"{link}.new{os.getpid()}"
    os.symlink(target, new)
    os.replace(new, link)


def remove_links(links_dir: str, labels: Sequence[str], target: str) -> None:
    """Remove the links that still point to the target."""
    for label in labels:
        link = f"{links_dir}/{label}"
        if os.path.islink(link) and os.readlink(link) == target:
            os.unlink(link)


def remove_all_links(links_dir: str, target: str) -> None:
    """Remove every link to the target, whatever its name."""
    remove_links(links_dir, os.listdir(links_dir), target)
