"""What nodes have that no volume needs: processes, exports, groups, links, files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from agents.client import AgentUnreachable, Fault, HeadAgent, Malformed, StorageAgent
from agents.engines.userspace.head import state_file
from deploy.local import observe, processes
from deploy.local.manager_processes import MANAGER
from tests.thrash.arena import HEADS, STORAGES, Arena, is_engine, name_of

FILES_OF_A_GROUP = ("group.json", "group.json.new", "lock", "log")
MAPS = ("intent-", "missed-")

T = TypeVar("T", int, str)


def orphans(arena: Arena) -> list[str]:
    """Name whatever is there and belongs to nothing that is; and what lacks."""
    groups: dict[str, set[int]] = {head: set() for head in HEADS}
    devices: dict[str, dict[str, int]] = {head: {} for head in HEADS}
    exports: dict[int, int] = {}
    for row in arena.call("listLogicalVolumes"):
        if row["bind_status"]:
            head = arena.head_of(row["hsvrid"])
            origin = row["associated_to"][0]["lvolid"] if row["associated_to"] else row["lvolid"]
            groups[head].add(origin)
            devices[head][row["lvolname"]] = row["lvolid"]
            for replica in observe.replicas(arena.call, row["lvolname"]):
                exports[replica["lvolid"]] = replica["lvolspec"]["ssvrid"]
    found: list[str] = []
    try:
        for head in HEADS:
            found += _of_head(arena, head, groups[head], devices[head])
        for node in STORAGES:
            ssvrid = arena.server_id(node)
            own = {dextid for dextid, server in exports.items() if server == ssvrid}
            found += _of_storage(arena, node, own)
    except (AgentUnreachable, Fault, Malformed) as silent:
        found.append(f"an agent does not answer: {silent}")
    return [*found, *_processes(arena, groups)]


def leftovers(arena: Arena) -> list[str]:
    """Name processes that outlived the whole cluster."""
    found = processes.marked(arena.place.home)
    return [f"process {process.pid} of {process.part}" for process in found]


def _of_head(arena: Arena, head: str, groups: set[int], devices: dict[str, int]) -> Iterator[str]:
    node = arena.place.node(head)
    state = HeadAgent(node.addresses, node.port).state()
    yield from _differing(f"{head}: group", {group.lvolid for group in state.groups}, groups)
    links = {path.name for path in arena.place.links_of(head).iterdir()}
    wanted = {*devices, *(f"lvol-{lvolid:08x}" for lvolid in devices.values())}
    yield from _differing(f"{head}: link", links, wanted)
    sockets = {path.name for path in (arena.place.run / head).iterdir()}
    wanted = {f"h{group:08x}.ctl" for group in groups}
    wanted |= {f"v{lvolid:08x}.sock" for lvolid in devices.values()}
    yield from _differing(f"{head}: socket", sockets, wanted)
    yield from _state_files(arena.place.folder(node) / "state" / "groups", groups)


def _state_files(folder: Path, groups: set[int]) -> Iterator[str]:
    """Look for folders of groups that are gone; one that ended uncleanly keeps its map there."""
    there = {path.name for path in folder.iterdir() if not _has_ended(path)}
    yield from _differing(f"folder in {folder}", there, {f"{group:08x}" for group in groups})
    for path in folder.glob("*/*"):
        if path.name not in FILES_OF_A_GROUP and not path.name.startswith(MAPS):
            yield f"file {path}"


def _has_ended(folder: Path) -> bool:
    state = state_file.read_state(str(folder))
    return state is not None and state.ended


def _of_storage(arena: Arena, name: str, extents: set[int]) -> Iterator[str]:
    node = arena.place.node(name)
    state = StorageAgent(node.addresses, node.port).state()
    yield from _differing(f"{name}: export", {e.dextid for e in state.exports}, extents)


def _processes(arena: Arena, groups: dict[str, set[int]]) -> Iterator[str]:
    """Tell what runs too much: an agent, its engine, a process for each group."""
    for part in MANAGER:
        yield from _number(part, len(arena.find(part)), (1,))
    for node in STORAGES:
        yield from _number(f"{node}: engine", len(arena.find(node, is_engine)), (1,))
        yield from _number(node, len(arena.find(node)), (2,))
    for head in HEADS:
        names = [name_of(process) for process in arena.find(head)]
        heads = {name for name in names if name.startswith("vas-")}
        wanted = {f"vas-{group:08x}" for group in groups[head]}
        yield from _differing(f"{head}: process", heads, wanted)
        # With its first attach an agent starts a fork server, and that a process that waits.
        yield from _number(head, len(names) - len(wanted), (1, 2, 3))


def _number(what: str, there: int, right: tuple[int, ...]) -> Iterator[str]:
    if there not in right:
        yield f"{what}: {there} processes, not {right[-1]}"


def _differing(what: str, there: set[T], wanted: set[T]) -> Iterator[str]:
    for thing in sorted(there - wanted):
        yield f"{what} {thing} belongs to nothing"
    for thing in sorted(wanted - there):
        yield f"{what} {thing} is missing"
