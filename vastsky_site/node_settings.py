"""The settings of nodes' agents as data: what each key of head.toml and storage.toml means."""

from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from agents.node.config import DiskConfig, HeadConfig, NodeConfig, StorageConfig

BOTH, HEAD, STORAGE, DISK = "Both", "Heads", "Storage servers", "A disk: each block `[[disks]]`"

MEANINGS = {
    BOTH: {
        "manager": "The URL of a manager, such as https://10.1.0.1:8881/RPC2.",
        "other_managers": "Further URLs, of the same or other managers, tried in turn.",
        "addresses": "This node's IPv4 address in each network, one or two.",
        "state_dir": "The folder of what outlives the agent: who it is, its orders, its fences.",
        "run_dir": "The folder of sockets, gone when the machine starts; by default `state_dir`.",
        "port": "The port for the manager's orders: the same on all nodes of a kind.",
        "site": "Where it stands: replicas are spread over sites, then over racks.",
        "rack": "The rack within the site.",
        "token_name": "The name of the token by which it calls the manager.",
        "token_file": "The file that holds the token, mode 600; read anew for every call.",
        "tls_certificate": "Its certificate. With its key and the authority, or none of the three.",
        "tls_key": "The key of that certificate, mode 600.",
        "tls_authority": "The authority's certificate, by which it knows the manager.",
        "metrics_port": "The port at which it tells figures, over plain HTTP; 0: none.",
        "metrics_networks": "Who may read them.",
        "engine": "What moves the bytes: userspace or kernel (docs/kernel-engine.md).",
        "iscsi_port": "With the kernel engine: the port at which storage servers export extents.",
        "log_format": "How its log is written: text or json (docs/logs.md).",
    },
    HEAD: {
        "links_dir": "The folder of links to attached volumes.",
        "rebuild_mib_per_s": "How fast a group copies replicas at most; 0: as fast as it goes.",
        "storage_wait_seconds": "So long a request waits for storage before it fails.",
        "device": "What an attached volume is: auto, nbd or socket (docs/devices.md).",
        "device_owner": "The user to whom devices, or sockets, belong.",
        "device_group": "The group to which they belong.",
        "device_mode": "Their mode, such as 0660.",
    },
    STORAGE: {
        "data_port": "The port at which heads read and write extents.",
        "disks": "The disks that are given to the cluster.",
        "shred_mib_per_s": "How fast a disk is zeroed at most; 0: as fast as it goes.",
        "patrol_mib_per_s": "How fast a disk is read to find bad blocks; 0: as fast as it goes.",
        "scrub_mib_per_s": "How fast a disk is read to compare replicas; 0: as fast as it goes.",
    },
    DISK: {
        "path": "Where it is: best below /dev/disk/by-id.",
        "tags": "Words, with spaces between them, that volumes may ask for.",
        "initialize": "Take it although it holds something, which is lost.",
        "accept_copy": "Take it although it is a copy: the original is gone for good.",
        "create_gb": "For a file instead of a disk: how large it is made.",
    },
}
"""Of each kind, in the order in which they are told."""

KINDS: dict[str, type] = {
    BOTH: NodeConfig,
    HEAD: HeadConfig,
    STORAGE: StorageConfig,
    DISK: DiskConfig,
}

UNITS = {"_mib_per_s": "MiB a second", "_seconds": "seconds", "_gb": "GiB", "port": "a port"}
"""What keys whose names end so are counted in."""
WRITTEN = {
    "str": "text",
    "Path": "a path",
    "bool": "true or false",
    "tuple": "a list",
    "EngineKind": "a word",
    "DeviceKind": "a word",
    "LogFormat": "a word",
}
"""How the other keys are written, by their types."""


def rows(kind: str) -> list[tuple[str, str, str]]:
    """Give name, default and meaning of each key of a kind."""
    known = {field.name: field for field in fields(KINDS[kind])}
    return [(name, default(kind, known[name]), text) for name, text in MEANINGS[kind].items()]


def kind_of(kind: str, name: str) -> str:
    """Say how a key is written, with its unit."""
    for end, unit in UNITS.items():
        if name.endswith(end):
            return unit
    (found,) = (field for field in fields(KINDS[kind]) if field.name == name)
    return WRITTEN[getattr(found.type, "__name__", str(found.type)).partition("[")[0]]


def default(kind: str, field: Field[Any]) -> str:
    """Write a key's default as the file would have it; nothing where there is none."""
    if kind == BOTH and field.name == "port":
        ports = [str(one.default) for of in (HeadConfig, StorageConfig) for one in fields(of)
                 if one.name == "port"]  # fmt: skip
        return " or ".join(ports)
    if field.default is MISSING or field.default == Path():
        return "" if field.default_factory is MISSING else "[]"
    return _written(field.default)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return str(value) if isinstance(value, int) else f'"{value}"'
