"""Which volume each number names on a head: an order for another one of that number is refused."""

import errno

from agents.errors import AgentError
from agents.node.state_store import StateStore
from agents.protocol import DeviceSpec


class Births:
    """When the volume of each number was made, as the manager told at its first attach."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def check(self, device: DeviceSpec) -> None:
        """Refuse a number that names something else here: a restored manager gave it out twice.

        An older manager says nothing of births, and then nothing is known or compared.
        """
        known = self._store.fact(_fact(device.lvolid))
        if device.created and known and int(known) != device.created:
            raise AgentError(
                errno.EEXIST,
                f"volume {device.lvolid} is another one here, made at {known} and not at"
                f" {device.created} seconds since 1970",
            )

    def learn(self, device: DeviceSpec) -> None:
        """Remember, durably, which volume a number names."""
        if device.created:
            self._store.learn(_fact(device.lvolid), str(device.created))


def _fact(lvolid: int) -> str:
    return f"birth of volume {lvolid}"
