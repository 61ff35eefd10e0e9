"""An agent's configuration file, read strictly: every error names the key."""

import ipaddress
import tomllib
import typing
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

PATHS = {"state_dir", "run_dir", "links_dir"}
OTHERS = 0o077
"""What a file with a token must not allow: anything to anybody else."""
PORTS = {"port", "data_port"}
RATES = {"shred_mib_per_s", "patrol_mib_per_s", "rebuild_mib_per_s"}

T = TypeVar("T")


class ConfigError(Exception):
    """The configuration file cannot be used; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """One disk to offer. `initialize` is the operator's word to take one that is not blank."""

    path: str
    tags: str = ""
    initialize: bool = False
    create_gb: int = 0


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What both kinds of agent are told."""

    manager: str
    addresses: tuple[str, ...]
    state_dir: Path
    port: int
    run_dir: Path = Path()
    site: str = ""
    rack: str = ""
    token_name: str = ""
    token_file: Path = Path()


@dataclass(frozen=True, slots=True)
class HeadConfig(NodeConfig):
    """What a head agent is told."""

    port: int = 8882
    links_dir: Path = Path("/dev/vas")
    rebuild_mib_per_s: int = 0


@dataclass(frozen=True, slots=True)
class StorageConfig(NodeConfig):
    """What a storage agent is told."""

    port: int = 8883
    data_port: int = 8884
    disks: tuple[DiskConfig, ...] = field(default=())
    shred_mib_per_s: int = 0
    patrol_mib_per_s: int = 4


C = TypeVar("C", bound=NodeConfig)


def load_config(kind: type[C], path: Path) -> C:
    """Read the file as `kind`; ConfigError if anything in it is not as it should be."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        table.setdefault("run_dir", table.get("state_dir", ""))
        config = _table(kind, table, "")
        _check(config)
        _check_token(config)
        if isinstance(config, StorageConfig):
            _check_disks(config.disks)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def manager_endpoint(url: str) -> tuple[str, int, str]:
    """Split the manager's URL; ConfigError unless it is plain http with a host."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise ConfigError(f"manager: {error}") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"manager: {url!r} is not of the form http://HOST:PORT/RPC2")
    return parts.hostname, port, parts.path or "/RPC2"


def read_token(path: Path) -> str:
    """Read the token with which to call the manager; ConfigError unless it is a secret."""
    if not path.is_absolute():
        raise ConfigError("token_file: an absolute path is wanted")
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"token_file: {error}") from None
    if mode & OTHERS:
        raise ConfigError(f"token_file: others may read {path}; chmod 600 it")
    if not text.isascii() or not text.isprintable() or not text:
        raise ConfigError(f"token_file: {path} holds no token")
    return text


def _table(kind: type[T], table: dict[str, Any], where: str) -> T:
    known = {member.name: member for member in fields(typing.cast("Any", kind))}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(f"{where}{unknown[0]}: no such key; known are {', '.join(known)}")
    for name, member in known.items():
        required = member.default is MISSING and member.default_factory is MISSING
        if required and name not in table:
            raise ConfigError(f"{where}{name}: missing")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], item, where + name) for name, item in table.items()})


def _value(kind: Any, value: object, where: str) -> Any:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: an array is wanted")
        item = typing.get_args(kind)[0]
        return tuple(_value(item, each, f"{where}[{n}]") for n, each in enumerate(value))
    if kind is DiskConfig:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: a table such as {{path = ...}} is wanted")
        return _table(DiskConfig, value, f"{where}.")
    wanted = str if kind is Path else kind
    if type(value) is not wanted:
        raise ConfigError(f"{where}: {wanted.__name__} is wanted, not {value!r}")
    return kind(value)


def _check(config: NodeConfig) -> None:
    known = [member.name for member in fields(config)]
    manager_endpoint(config.manager)
    if len(config.addresses) not in (1, 2):
        raise ConfigError("addresses: one or two are wanted")
    for n, address in enumerate(config.addresses):
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise ConfigError(f"addresses[{n}]: {address!r} is no IPv4 address") from None
    for name in [name for name in known if name in PATHS]:
        if not getattr(config, name).is_absolute():
            raise ConfigError(f"{name}: an absolute path is wanted")
    for name in [name for name in known if name in PORTS]:
        if not 0 < getattr(config, name) < 1 << 16:
            raise ConfigError(f"{name}: {getattr(config, name)} is no port")
    for name in [name for name in known if name in RATES]:
        if getattr(config, name) < 0:
            raise ConfigError(f"{name}: 0 or more is wanted")


def _check_token(config: NodeConfig) -> None:
    if config.token_name:
        read_token(config.token_file)
    elif config.token_file != Path():
        raise ConfigError("token_name: missing, although there is a token_file")


def _check_disks(disks: tuple[DiskConfig, ...]) -> None:
    seen: set[str] = set()
    for n, disk in enumerate(disks):
        if not Path(disk.path).is_absolute():
            raise ConfigError(f"disks[{n}].path: an absolute path is wanted")
        if disk.path in seen:
            raise ConfigError(f"disks[{n}].path: {disk.path} is named twice")
        if disk.create_gb < 0 or disk.create_gb == 1:
            raise ConfigError(f"disks[{n}].create_gb: 2 or more is wanted")
        seen.add(disk.path)
