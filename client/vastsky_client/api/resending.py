"""Which calls may be sent again when an answer was lost, and what has to be said then.

A call whose answer was lost may have been carried out, or may be under way still.
"""

import errno
from enum import Enum, auto


class Resending(Enum):
    """How a call is sent once more."""

    NEVER = auto()
    AS_IT_IS = auto()
    CONVERGING = auto()
    """With the member `converge`: what the first call made is then the answer."""
    UNTIL_GONE = auto()
    """ENOENT then means that the first call has done it."""


CONVERGING = frozenset(
    {
        "createLogicalVolume",
        "createSnapshot",
        "deleteLogicalVolume",
        "attachLogicalVolume",
        "detachLogicalVolume",
        "vastsky.evacuate",
        "vastsky.maintenance",
    }
)
UNTIL_GONE = frozenset(
    {
        "deleteHeadServer",
        "deleteStorageServer",
        "deletePhysicalDisk",
        "vastsky.removeWebhook",
    }
)
HARMLESS = frozenset(
    {
        "showLogicalVolume",
        "notifyFailure",
        "notifyBadBlocks",
        "notifyShredFinished",
        "notifyRebuildMirrorFinished",
        "shutdownAll",
        "vastsky.clusterInfo",
        "vastsky.showJob",
        "vastsky.samples",
        "vastsky.capacity",
        "vastsky.planVolume",
        "vastsky.planFailure",
        "vastsky.planEvacuation",
        "vastsky.renameServer",
        "vastsky.returnToService",
        "vastsky.forgetNode",
        "vastsky.pauseJob",
        "vastsky.resumeJob",
        "vastsky.pauseScrubs",
        "vastsky.resumeScrubs",
        "vastsky.revokeToken",
        "vastsky.testWebhook",
    }
)
GONE = errno.ENOENT


def how(method: str) -> Resending:
    """Tell how a method may be called again; what is not known here never is."""
    if method in CONVERGING:
        return Resending.CONVERGING
    if method in UNTIL_GONE:
        return Resending.UNTIL_GONE
    reads = method.removeprefix("vastsky.").startswith("list") or method.startswith("system.")
    return Resending.AS_IT_IS if reads or method in HARMLESS else Resending.NEVER
