"""The names of volumes: where their processes link their sockets, and where users look for them."""

import contextlib
import re
from collections.abc import Container
from pathlib import Path

from agents.engines.userspace.head.published_device import (
    make_link,
    remove_all_links,
    socket_path,
)

SOCKET = re.compile(r"v([0-9a-f]{8})\.sock")
ID_LABEL = re.compile(r"lvol-[0-9a-f]+")


class Links:
    """`published` has a link to a socket for each label; `shown` gets those that users see."""

    def __init__(self, run_dir: Path, published: Path, shown: Path) -> None:
        self._run_dir = run_dir
        self._published = published
        self._shown = shown
        shown.mkdir(parents=True, exist_ok=True)

    def published(self) -> dict[int, tuple[str, ...]]:
        """Tell which labels the processes gave each volume, the name before the id."""
        labels: dict[int, tuple[str, ...]] = {}
        for link in sorted(self._published.iterdir(), key=_by_name):
            found = SOCKET.fullmatch(_target(link).name)
            if found is not None:
                lvolid = int(found[1], 16)
                labels[lvolid] = (*labels.get(lvolid, ()), link.name)
        return labels

    def leads_to(self, label: str) -> str:
        """Tell where a name leads; "" if there is none."""
        link = self._shown / label
        return str(_target(link)) if link.is_symlink() else ""

    def socket(self, lvolid: int) -> str:
        """Name the socket of a volume."""
        return socket_path(str(self._run_dir), lvolid)

    def show(self, labels: tuple[str, ...], target: str) -> None:
        """Have all these names lead there."""
        for label in labels:
            make_link(str(self._shown / label), target)

    def hide(self, target: str) -> None:
        """Remove all names that lead there."""
        remove_all_links(str(self._shown), target)

    def targets(self) -> set[str]:
        """List all that names lead to."""
        return {str(_target(link)) for link in self._shown.iterdir()}

    def remove_dead(self, known: Container[int]) -> None:
        """Remove names of sockets that are gone; a process that was killed leaves them behind.

        Not those of volumes that are `known`: their process may just be coming back.
        """
        for link in self._shown.iterdir():
            target = _target(link)
            ours = SOCKET.fullmatch(target.name) if target.parent == self._run_dir else None
            if ours and int(ours[1], 16) not in known and not target.exists():
                link.unlink(missing_ok=True)


def _target(link: Path) -> Path:
    with contextlib.suppress(OSError):
        return link.readlink()
    return Path()


def _by_name(link: Path) -> tuple[bool, str]:
    return ID_LABEL.fullmatch(link.name) is not None, link.name
