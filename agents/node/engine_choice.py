"""The one place where an agent's engine is chosen and made."""

import logging

from agents.engines.base import Access, HeadEngine, StorageEngine
from agents.engines.devices import kernel
from agents.engines.devices.device_head import DeviceHead
from agents.engines.devices.devices import Devices, Terms
from agents.engines.devices.links import Links
from agents.engines.devices.reconnector import Reconnector
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.storage.storage_engine import UserspaceStorage
from agents.node.config import ConfigError, DeviceKind, HeadConfig, StorageConfig

logger = logging.getLogger(__name__)

REPLICA_TIMEOUT = 5.0
"""A replica that does not answer for so long is left behind."""
RETURN_SECONDS = 30
"""What a volume's process has to come back in, beyond the time in which its storage may."""
KERNEL_SECONDS = 10
"""The kernel gives a device up so much later than the agent: only if there is no agent."""
PASSABLE = 0o711
"""The mode of a folder in which others may open what they know by name."""


def storage_engine(config: StorageConfig) -> StorageEngine:
    """Make the engine of a storage server."""
    return UserspaceStorage(config.state_dir, config.run_dir, config.addresses, config.data_port)


def head_engine(config: HeadConfig) -> HeadEngine:
    """Make the engine of a head; ConfigError where it shall make devices and cannot."""
    why_not = kernel.why_unusable()
    if why_not and config.device is DeviceKind.NBD:
        raise ConfigError(f"device: {why_not}")
    if why_not and config.device is DeviceKind.AUTO:
        logger.warning("volumes are sockets here, no block devices: %s", why_not)
    return _sockets(config) if why_not else _devices(config)


def _sockets(config: HeadConfig) -> UserspaceHead:
    return _userspace(config, links="", access=_access(config))


def _devices(config: HeadConfig) -> DeviceHead:
    """Make the engine that shows devices, and goes on with those that are there in any case."""
    makes_devices = config.device is not DeviceKind.SOCKET
    access = _access(config)
    engine = _userspace(config, links="sockets", access=Access() if makes_devices else access)
    patience = config.storage_wait_seconds + RETURN_SECONDS
    devices = Devices(config.run_dir, Terms(access, patience + KERNEL_SECONDS))
    links = Links(config.run_dir, config.run_dir / "sockets", config.links_dir)
    reconnector = Reconnector(devices, patience, engine.revive)
    return DeviceHead(engine, devices, links, reconnector, make_devices=makes_devices)


def _userspace(config: HeadConfig, links: str, access: Access) -> UserspaceHead:
    engine = UserspaceHead(
        state_dir=config.state_dir,
        run_dir=config.run_dir,
        links_dir=config.run_dir / links if links else config.links_dir,
        rebuild_mib_per_s=config.rebuild_mib_per_s,
        replica_timeout=REPLICA_TIMEOUT,
        storage_wait=float(config.storage_wait_seconds),
        access=access,
    )
    if access != Access():
        config.run_dir.chmod(PASSABLE)
    return engine


def _access(config: HeadConfig) -> Access:
    return Access(config.owner, config.group, int(config.device_mode or "0", 8))
