"""Troubles of paths in words, for events and problems."""

from inventory.models import PathTrouble

NAMES = "AB"
"""What people call the two networks, by their position."""
Level, Scope = PathTrouble.Level, PathTrouble.Scope


def network(position: int) -> str:
    """Name a network as people do."""
    return f"Network {NAMES[position]}"


def said(row: PathTrouble) -> str:
    """Say what is so of whatever the event is about."""
    over = f"over network {NAMES[row.position]}"
    if row.scope == Scope.SEVERAL and row.level != Level.OK:
        return f"{row.paths} paths {over} are {Level(row.level).label}{_nothing_else(row)}"
    return f"{_sentence(row, over)}{_nothing_else(row)}"


def _sentence(row: PathTrouble, over: str) -> str:
    subject = {
        Scope.NETWORK: ("heads reach the storage servers", "no head reaches a storage server"),
        Scope.HEAD: ("it reaches the storage servers", "it reaches no storage server"),
        Scope.STORAGE: ("heads reach it", "no head reaches it"),
        Scope.SEVERAL: ("heads reach the storage servers", ""),
        Scope.PATH: (f"{_head(row)} reaches it", f"{_head(row)} does not reach it"),
    }
    well, not_at_all = subject[Scope(row.scope)]
    if row.level == Level.DOWN:
        return f"{not_at_all} {over}"
    return f"{well} {over}{' slowly' if row.level == Level.SLOW else ' again'}"


def _head(row: PathTrouble) -> str:
    return row.head.label if row.head else "a head"


def _nothing_else(row: PathTrouble) -> str:
    """Say that the other network is no way out, where that is so."""
    return ", and some by no other network" if row.level == Level.DOWN and row.cut_off else ""
