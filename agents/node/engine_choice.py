"""The one place where an agent's engine is chosen and made."""

import logging
from collections.abc import Sequence

from agents.engines.base import DeviceAccess, HeadEngine, StorageEngine
from agents.engines.devices import nbd_module
from agents.engines.devices.device_head import DeviceHead
from agents.engines.devices.devices import Devices, Terms
from agents.engines.devices.links import Links
from agents.engines.devices.reconnector import Reconnector
from agents.engines.kernel import requirements
from agents.engines.kernel.hands_off import keep_others_off
from agents.engines.kernel.head_place import HeadPlace
from agents.engines.kernel.kernel_head import KernelHead, kernel_groups
from agents.engines.kernel.kernel_storage import KernelStorage, kernel_exports
from agents.engines.kernel.targets import Targets
from agents.engines.userspace.head import state_file
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.storage.storage_engine import UserspaceStorage
from agents.node.config import ConfigError, DeviceKind, EngineKind, HeadConfig, StorageConfig

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
    data_server = UserspaceStorage(
        config.state_dir, config.run_dir, config.addresses, config.data_port
    )
    if config.engine is EngineKind.KERNEL:
        requirements.STORAGE.load()
        requirements.mount_configfs()
        keep_others_off()
        portals = [f"{address}:{config.iscsi_port}" for address in config.addresses]
        return KernelStorage(data_server, Targets(), config.run_dir, portals)
    if kernel_exports(config.run_dir):
        raise ConfigError(
            "engine: this machine's kernel still exports extents, which nobody would end:"
            ' with engine = "kernel", run --stop-engine first'
        )
    return data_server


def head_engine(config: HeadConfig) -> HeadEngine:
    """Make the engine of a head; ConfigError where it shall make devices and cannot."""
    if config.engine is EngineKind.KERNEL:
        return _kernel_head(config)
    if kernel_groups(config.state_dir):
        raise ConfigError(
            f"engine: {_attached(kernel_groups(config.state_dir))} by the kernel engine:"
            ' detach, with engine = "kernel", before you choose another one'
        )
    why_not = nbd_module.why_unusable()
    if why_not and config.device is DeviceKind.NBD:
        raise ConfigError(f"device: {why_not}")
    if why_not and config.device is DeviceKind.AUTO:
        logger.warning("volumes are sockets here, no block devices: %s", why_not)
    return _sockets(config) if why_not else _devices(config)


def _kernel_head(config: HeadConfig) -> KernelHead:
    """Make a head of the kernel engine, which can look after no volume of the embedded one."""
    folders = sorted((config.state_dir / "groups").glob("*"))
    found = [state_file.read_state(str(folder)) for folder in folders]
    running = [group.lvolid for group in found if group is not None and not group.ended]
    if running:
        raise ConfigError(
            f"engine: {_attached(running)} by the embedded engine:"
            ' detach, with engine = "userspace", before you choose another one'
        )
    requirements.HEAD.load()
    keep_others_off()
    place = HeadPlace(
        str(config.state_dir.absolute()),
        str(config.links_dir),
        config.iscsi_port,
        _access(config),
    )
    return KernelHead(place, config.rebuild_mib_per_s)


def _attached(groups: Sequence[int]) -> str:
    return f"volumes are attached here (group {', '.join(map(str, groups))})"


def _sockets(config: HeadConfig) -> UserspaceHead:
    return _userspace(config, links="", access=_access(config))


def _devices(config: HeadConfig) -> DeviceHead:
    """Make the engine that shows devices, and goes on with those that are there in any case."""
    makes_devices = config.device is not DeviceKind.SOCKET
    access = _access(config)
    engine = _userspace(config, links="sockets", access=DeviceAccess() if makes_devices else access)
    timeout = config.storage_wait_seconds + RETURN_SECONDS
    devices = Devices(config.run_dir, Terms(access, timeout + KERNEL_SECONDS))
    links = Links(config.run_dir, config.run_dir / "sockets", config.links_dir)
    reconnector = Reconnector(devices, timeout, engine.revive)
    return DeviceHead(engine, devices, links, reconnector, make_devices=makes_devices)


def _userspace(config: HeadConfig, links: str, access: DeviceAccess) -> UserspaceHead:
    engine = UserspaceHead(
        state_dir=config.state_dir,
        run_dir=config.run_dir,
        links_dir=config.run_dir / links if links else config.links_dir,
        rebuild_mib_per_s=config.rebuild_mib_per_s,
        replica_timeout=REPLICA_TIMEOUT,
        storage_wait=float(config.storage_wait_seconds),
        access=access,
    )
    if access != DeviceAccess():
        config.run_dir.chmod(PASSABLE)
    return engine


def _access(config: HeadConfig) -> DeviceAccess:
    return DeviceAccess(config.owner, config.group, int(config.device_mode or "0", 8))
