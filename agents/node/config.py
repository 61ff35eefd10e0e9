"""An agent's configuration file, read strictly: every error names the key."""

import grp
import ipaddress
import pwd
import re
import ssl
import tomllib
import typing
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from agents.identity import Identity, explain, trusting
from agents.transport import Endpoint

TLS = ("tls_certificate", "tls_key", "tls_authority")
PATHS = {"state_dir", "run_dir", "links_dir"}
STANDARD_PORTS = {"http": 80, "https": 443}
OTHERS = 0o077
"""What a file with a secret must not allow: anything to anybody else."""
PORTS = {"port", "data_port", "iscsi_port"}
HEAD_PORT, STORAGE_PORT, DATA_PORT = 8882, 8883, 8884
"""Where agents and data servers listen unless they are told otherwise."""
METRICS_OFF = 0
AMOUNTS = {
    "shred_mib_per_s",
    "patrol_mib_per_s",
    "scrub_mib_per_s",
    "rebuild_mib_per_s",
    "storage_wait_seconds",
}

T = TypeVar("T")


class ConfigError(Exception):
    """The configuration file cannot be used; the text is one line for the operator."""


class DeviceKind(StrEnum):
    """What an attached volume is on its head. AUTO: a block device where that can be made."""

    AUTO = "auto"
    NBD = "nbd"
    SOCKET = "socket"


class EngineKind(StrEnum):
    """What moves the bytes: the embedded engine, or the kernel by iSCSI, md and device mapper."""

    USERSPACE = "userspace"
    KERNEL = "kernel"


class LogFormat(StrEnum):
    """How lines of the log are written: for people, or for programs."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """One disk to offer. `initialize` is the operator's word to take one that is not blank.

    `accept_copy` is the word that the disk of which this is a copy is gone for good.
    """

    path: str
    tags: str = ""
    initialize: bool = False
    accept_copy: bool = False
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
    tls_certificate: Path = Path()
    tls_key: Path = Path()
    tls_authority: Path = Path()
    metrics_port: int = METRICS_OFF
    metrics_networks: tuple[str, ...] = ("127.0.0.0/8",)
    other_managers: tuple[str, ...] = ()
    engine: EngineKind = EngineKind.USERSPACE
    iscsi_port: int = 3260
    log_format: LogFormat = LogFormat.TEXT

    @property
    def identity(self) -> Identity | None:
        """Who this node is; None where it obeys programs of this machine only."""
        if self.tls_certificate == Path():
            return None
        return Identity(self.tls_certificate, self.tls_key, self.tls_authority)

    @property
    def managers(self) -> tuple[str, ...]:
        """All URLs of managers, in the order in which they are tried."""
        return (self.manager, *self.other_managers)

    @property
    def manager_endpoints(self) -> tuple[Endpoint, ...]:
        """Where managers listen; ConfigError unless each is an http or https URL."""
        return tuple(_endpoint(url, self.tls_authority) for url in self.managers)


@dataclass(frozen=True, slots=True)
class HeadConfig(NodeConfig):
    """What a head agent is told."""

    port: int = HEAD_PORT
    links_dir: Path = Path("/dev/vas")
    rebuild_mib_per_s: int = 0
    storage_wait_seconds: int = 60
    device: DeviceKind = DeviceKind.AUTO
    device_owner: str = ""
    device_group: str = ""
    device_mode: str = ""

    @property
    def owner(self) -> int:
        """The number of `device_owner`; -1 if none is named."""
        return pwd.getpwnam(self.device_owner).pw_uid if self.device_owner else -1

    @property
    def group(self) -> int:
        """The number of `device_group`; -1 if none is named."""
        return grp.getgrnam(self.device_group).gr_gid if self.device_group else -1

    @property
    def opens_to_others(self) -> bool:
        """Tell whether others than the agent's user are to open volumes."""
        return bool(self.device_owner or self.device_group or self.device_mode)


@dataclass(frozen=True, slots=True)
class StorageConfig(NodeConfig):
    """What a storage agent is told."""

    port: int = STORAGE_PORT
    data_port: int = DATA_PORT
    disks: tuple[DiskConfig, ...] = field(default=())
    shred_mib_per_s: int = 0
    patrol_mib_per_s: int = 4
    scrub_mib_per_s: int = 16


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
        _check_identity(config)
        if isinstance(config, StorageConfig):
            _check_disks(config.disks)
        if isinstance(config, HeadConfig):
            _check_access(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return config


def _endpoint(url: str, authority: Path) -> Endpoint:
    try:
        parts = urlsplit(url)
        port = parts.port or STANDARD_PORTS.get(parts.scheme)
    except ValueError as error:
        raise ConfigError(f"manager: {error}") from None
    if parts.scheme not in STANDARD_PORTS or not port or not parts.hostname:
        raise ConfigError(f"manager: {url!r} is not of the form http[s]://HOST:PORT/RPC2")
    secure = partial(trusting, None if authority == Path() else authority)
    return Endpoint(
        parts.hostname,
        port,
        parts.path or "/RPC2",
        secure=secure if parts.scheme == "https" else None,
    )


def read_token(path: Path) -> str:
    """Read the token with which to call the manager; ConfigError unless it is a secret."""
    text = _secret(path, "token_file").strip()
    if not text.isascii() or not text.isprintable() or not text:
        raise ConfigError(f"token_file: {path} holds no token")
    return text


def _secret(path: Path, key: str) -> str:
    """Read a file that nobody else may read."""
    if not path.is_absolute():
        raise ConfigError(f"{key}: an absolute path is wanted")
    try:
        mode, text = path.stat().st_mode, path.read_text()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from None
    if mode & OTHERS:
        raise ConfigError(f"{key}: others may read {path}; chmod 600 it")
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
    is_word = isinstance(kind, type) and issubclass(kind, StrEnum)
    wanted = str if kind is Path or is_word else kind
    if type(value) is not wanted:
        raise ConfigError(f"{where}: {wanted.__name__} is wanted, not {value!r}")
    if is_word and value not in set(kind):
        raise ConfigError(f"{where}: {value!r} is none of {', '.join(kind)}")
    return kind(value)


def _check(config: NodeConfig) -> None:
    known = [member.name for member in fields(config)]
    _ = config.manager_endpoints
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
    _check_metrics(config)
    for name in [name for name in known if name in AMOUNTS]:
        if getattr(config, name) < 0:
            raise ConfigError(f"{name}: 0 or more is wanted")


def _check_metrics(config: NodeConfig) -> None:
    if config.metrics_port and not 0 < config.metrics_port < 1 << 16:
        raise ConfigError(f"metrics_port: {config.metrics_port} is no port, and 0 is none at all")
    if config.metrics_port in {getattr(config, name, METRICS_OFF) for name in PORTS} - {0}:
        raise ConfigError(f"metrics_port: {config.metrics_port} is taken by the agent itself")
    for n, network in enumerate(config.metrics_networks):
        try:
            ipaddress.IPv4Network(network)
        except ValueError as error:
            raise ConfigError(f"metrics_networks[{n}]: {error}") from None


def _check_token(config: NodeConfig) -> None:
    if config.token_name:
        read_token(config.token_file)
    elif config.token_file != Path():
        raise ConfigError("token_name: missing, although there is a token_file")


def _check_identity(config: NodeConfig) -> None:
    """A certificate, its key and its authority go together, and must be what they are called."""
    if {config.tls_certificate, config.tls_key} != {Path()}:
        for name in TLS:
            if getattr(config, name) == Path():
                raise ConfigError(f"{name}: missing; {', '.join(TLS)} go together")
    if config.identity is None:
        return
    _secret(config.tls_key, "tls_key")
    try:
        config.identity.answering()
    except ssl.SSLError as error:
        raise ConfigError(f"{' or '.join(TLS)}: {explain(error)}") from None
    except OSError as error:
        raise ConfigError(f"{' or '.join(TLS)}: {error.strerror}") from None


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


def _check_access(config: HeadConfig) -> None:
    """Who may open volumes must exist, and must be let through to the sockets."""
    for name, number in (("device_owner", "owner"), ("device_group", "group")):
        try:
            getattr(config, number)
        except KeyError:
            raise ConfigError(f"{name}: there is no {getattr(config, name)!r} here") from None
    if config.device_mode and not re.fullmatch(r"0?[0-7]{3}", config.device_mode):
        raise ConfigError(f"device_mode: {config.device_mode!r} is no mode such as '0660'")
    if config.opens_to_others and config.run_dir == config.state_dir:
        raise ConfigError(
            "run_dir: missing; others are to pass through it, and not through state_dir"
        )
