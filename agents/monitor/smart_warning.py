"""What smartd says by its -M exec: in variables of the environment (smartd.conf(5))."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from agents.node.storage.smart import TOO_WARM


class Meaning(Enum):
    """What follows from a warning."""

    FAILS = auto()
    """The disk itself says that it is about to fail."""
    TEST = auto()
    OTHER = auto()
    """Worth a line in the log: figures come with the disk's state, sectors from the kernel."""


MEANINGS = {"Health": Meaning.FAILS, "EmailTest": Meaning.TEST}
NVME = re.compile(r"Critical Warning \(0x([0-9a-fA-F]{2})\)")


@dataclass(frozen=True, slots=True)
class SmartWarning:
    """One warning of smartd about one device."""

    device: str
    kind: str
    text: str

    @property
    def meaning(self) -> Meaning:
        """Tell what follows from it."""
        bits = NVME.search(self.text)
        if bits and int(bits[1], 16) == TOO_WARM:
            return Meaning.OTHER
        return MEANINGS.get(self.kind, Meaning.OTHER)


def told(environment: Mapping[str, str]) -> SmartWarning | None:
    """Read the warning for which smartd started us; None where it was not smartd."""
    device = environment.get("SMARTD_DEVICE", "")
    kind = environment.get("SMARTD_FAILTYPE", "")
    if not device or not kind:
        return None
    text = environment.get("SMARTD_MESSAGE", "") or environment.get("SMARTD_FULLMESSAGE", "")
    return SmartWarning(device, kind, " ".join(text.split())[:300])
