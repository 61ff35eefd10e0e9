"""The one place where an agent's engine is chosen and made."""

from agents.engines.base import HeadEngine, StorageEngine
from agents.engines.userspace.head.head_engine import UserspaceHead
from agents.engines.userspace.storage.storage_engine import UserspaceStorage
from agents.node.config import HeadConfig, StorageConfig

REPLICA_TIMEOUT = 5.0
"""A replica that does not answer for so long is left behind."""


def storage_engine(config: StorageConfig) -> StorageEngine:
    """Make the engine of a storage server."""
    return UserspaceStorage(config.state_dir, config.run_dir, config.addresses, config.data_port)


def head_engine(config: HeadConfig) -> HeadEngine:
    """Make the engine of a head."""
    return UserspaceHead(
        state_dir=config.state_dir,
        run_dir=config.run_dir,
        links_dir=config.links_dir,
        rebuild_mib_per_s=config.rebuild_mib_per_s,
        replica_timeout=REPLICA_TIMEOUT,
        storage_wait=float(config.storage_wait_seconds),
    )
