"""Names before ids: how servers are called, and what a word on the line means."""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from vastsky_client import written_ids
from vastsky_client.api import Manager, Refused
from vastsky_client.api.structs import Disk, NodeName
from vastsky_client.commands import Ambiguous, find_volume

NO_SUCH_METHOD = -32601
PREFIXES = {"hsvrid": "hsvr", "ssvrid": "ssvr", "pdskid": "pdsk", "lvolid": "lvol"}
KINDS = {"hsvrid": "head server", "ssvrid": "storage server", "pdskid": "disk"}
KINDS_OF = {"head": ("hsvrid",), "storage": ("ssvrid",), "": ("hsvrid", "ssvrid")}
"""What `--kind` allows."""
READERS = {
    "hsvrid": written_ids.head,
    "ssvrid": written_ids.storage,
    "pdskid": written_ids.disk,
}


class Unknown(Exception):
    """A word that names nothing; the text says so."""


class Names:
    """The names of a cluster's servers, read once."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    @cached_property
    def _nodes(self) -> list[NodeName]:
        try:
            return self._manager.list_nodes()
        except Refused as refusal:
            if refusal.faultCode == NO_SUCH_METHOD:
                return []  # an older manager, whose servers have ids alone
            raise

    @cached_property
    def _by_id(self) -> dict[tuple[str, int], str]:
        return {
            (kind, node[kind]): node["name"]  # type: ignore[literal-required]
            for node in self._nodes
            for kind in ("hsvrid", "ssvrid")
            if kind in node
        }

    def of(self, kind: str, number: int) -> str:
        """Name a server by its kind, "hsvrid" or "ssvrid", and id; "" where it has no name."""
        return self._by_id.get((kind, number), "")

    def label(self, kind: str, number: int) -> str:
        """Name a server, or else write its id; "" for none."""
        return (self.of(kind, number) or written(kind, number)) if number else ""

    def instead_of_ids(self, text: str) -> str:
        """Write names in place of ids: of volumes where they stand beside them, and of servers.

        What stands in brackets is the id of what is named before them.
        """
        text = re.sub(r"lvol-[0-9a-f]{8} (?!(?:to|from|of) |$)", "", text)
        return re.sub(r"(?<!\()(hsvr|ssvr)-([0-9a-f]{8})", self._name_of, text)

    def without_ids(self, text: str) -> str:
        """Write names alone, where the ids stand in a column of their own or are of no use."""
        return re.sub(r" \((lvol|hsvr|ssvr|pdsk)-[0-9a-f]{8}\)", "", self.instead_of_ids(text))

    def _name_of(self, found: re.Match[str]) -> str:
        return self.of(f"{found[1]}id", int(found[2], 16)) or found[0]

    def everyone(self, kind: str) -> list[str]:
        """Give the names, or else the ids, of all servers of a kind."""
        return [
            node["name"] or written(kind, node[kind])  # type: ignore[literal-required]
            for node in self._nodes
            if kind in node
        ]

    def nodes(self, kind: str) -> list[NodeName]:
        """Give the servers of a kind."""
        return [node for node in self._nodes if kind in node]

    # -- what a word means ------------------------------------------------------------------------

    def volume(self, word: str) -> dict[str, Any]:
        """Tell which volume is meant, by lvolid or lvolname."""
        return dict(find_volume(self._manager.call, word))

    def server(self, word: str, kinds: Iterable[str] = ("hsvrid", "ssvrid")) -> dict[str, int]:
        """Tell which server is meant: by its name, that of its host, or its id."""
        for key in ("name", "host_name"):
            found = [
                {kind: node[kind]}  # type: ignore[literal-required]
                for kind in kinds
                for node in self._nodes
                if kind in node and node[key] == word
            ]
            if len(found) == 1:
                return found[0]
            if found:
                raise Ambiguous(f"{word} may be {_either(found)}: say which")
        return _by_written_id(word, kinds)

    def disk(self, word: str) -> dict[str, int]:
        """Tell which disk is meant: by its path, SERVER:PATH, or its id."""
        if "/" not in word:
            return _by_written_id(word, ["pdskid"])
        # A path may have colons itself, a name none: /dev/disk/by-path/pci-0000:00:17.0-ata-2.
        server, _, path = word.partition(":") if not word.startswith("/") else ("", "", word)
        where = self.server(server, ["ssvrid"]) if server else {}
        disks: list[Disk] = self._manager.list_physical_disks(**where)
        found = [{"pdskid": disk["pdskid"]} for disk in disks if disk["local_path"] == path]
        if len(found) > 1:
            raise Ambiguous(f"{path} may be {_either(found)}: say which, or SERVER:{path}")
        if not found:
            raise Unknown(f"there is no disk {word}")
        return found[0]

    def place(self, word: str, kinds: Iterable[str] = ("ssvrid",)) -> dict[str, int]:
        """Tell which server or disk is meant."""
        if word.startswith("pdsk-") or "/" in word:
            return self.disk(word)
        return self.server(word, kinds)


def written(kind: str, number: int) -> str:
    """Write an id as people do: hsvr-00000001."""
    return f"{PREFIXES[kind]}-{number:08x}"


def _either(found: list[dict[str, int]]) -> str:
    return " or ".join(written(kind, number) for one in found for kind, number in one.items())


def _by_written_id(word: str, kinds: Iterable[str]) -> dict[str, int]:
    given = list(kinds)
    for kind in given:
        if word.startswith(f"{PREFIXES[kind]}-") or (len(given) == 1 and written_ids.is_bare(word)):
            return {kind: READERS[kind](word)}
    raise Unknown(f"there is no {' or '.join(KINDS[kind] for kind in given)} {word}")
