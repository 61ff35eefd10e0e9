"""`vastsky-node check`: all that a node needs, by the settings of each of its agents."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agents.membership import node_checks
from agents.membership.manager_door import Told
from agents.membership.node_checks import Finding
from agents.node.config import (
    METRICS_OFF,
    DeviceKind,
    EngineKind,
    HeadConfig,
    NodeConfig,
    StorageConfig,
)


def look(configs: Mapping[str, NodeConfig]) -> list[Finding]:
    """Find what is wrong with this node; what its agents share is told once."""
    found = [*_managers(configs.values())]
    told = _told(configs.values())
    for role, config in configs.items():
        found += [*_files(config), *_machine(role, config), *_agent(role, config)]
        if told:
            found += node_checks.check_called_port(role, config.port, told)
        if isinstance(config, StorageConfig):
            found += node_checks.check_own_disks(config.disks, told.cluster if told else "")
    return list(dict.fromkeys(found))


def _files(config: NodeConfig) -> Iterator[Finding]:
    secrets = [path for path in (config.tls_key, config.token_file) if path != Path()]
    yield from node_checks.check_private(secrets)
    if config.identity:
        yield from node_checks.check_certificate(config.tls_certificate)
    yield from node_checks.check_folders([config.state_dir, config.run_dir])
    yield from node_checks.check_room(config.state_dir)


def _machine(role: str, config: NodeConfig) -> Iterator[Finding]:
    yield from node_checks.check_own_addresses(config.addresses)
    yield from node_checks.check_networks(config.addresses)
    if config.engine is EngineKind.KERNEL:
        disks = config.disks if isinstance(config, StorageConfig) else ()
        yield from node_checks.check_kernel_engine(role, [disk.path for disk in disks])
    elif isinstance(config, HeadConfig) and config.device is not DeviceKind.SOCKET:
        yield from node_checks.check_nbd()


def _agent(role: str, config: NodeConfig) -> Iterator[Finding]:
    """Before an agent's first start its ports are to be free, afterwards they are to be its own."""
    if config.state_dir.exists():
        authority = config.tls_authority if config.identity else None
        yield from node_checks.check_agent(role, config.addresses, config.port, authority)
        return
    yield from node_checks.check_ports(config.addresses, _ports(config))


def _ports(config: NodeConfig) -> list[int]:
    """List where an agent, and what it starts, will listen."""
    found = [config.port]
    if config.metrics_port != METRICS_OFF:
        found.append(config.metrics_port)
    if isinstance(config, StorageConfig):
        found.append(config.data_port)
        if config.engine is EngineKind.KERNEL:
            found.append(config.iscsi_port)
    return found


def _managers(configs: Iterable[NodeConfig]) -> Iterator[Finding]:
    doors = _doors(configs)
    yield from node_checks.check_managers(url for url, _ in doors)
    for url, authority in doors:
        if authority != Path():
            yield from node_checks.check_trust(url, authority)


def _told(configs: Iterable[NodeConfig]) -> Told | None:
    """Ask which cluster this is, and where it calls agents; None where no trusted one answers."""
    doors = [(url, authority) for url, authority in _doors(configs) if authority != Path()]
    answers = (node_checks.told_by(url, authority) for url, authority in doors)
    return next((told for told in answers if told), None)


def _doors(configs: Iterable[NodeConfig]) -> list[tuple[str, Path]]:
    """Give the managers' URLs, each with the authority that vouches for it."""
    return list(
        dict.fromkeys(
            (url.removesuffix("/RPC2"), config.tls_authority)
            for config in configs
            for url in config.managers
        )
    )
