"""Refusals: requests that were understood and declined, each with the errno its fault carries."""

import errno
import os


class Refused(Exception):
    """A request that was understood and declined; the text is a sentence for the caller."""

    errno: int


class NotFound(Refused):
    """What was named does not exist."""

    errno = errno.ENOENT


class Forbidden(Refused):
    """The caller's role does not have this."""

    errno = errno.EACCES


class TryAgain(Refused):
    """Something under way has to end first."""

    errno = errno.EAGAIN


class Busy(Refused):
    """What was named is in use."""

    errno = errno.EBUSY


class Exists(Refused):
    """The name or the thing is taken."""

    errno = errno.EEXIST


class Invalid(Refused):
    """A parameter is missing, of the wrong type, or out of range."""

    errno = errno.EINVAL


class NoSpace(Refused):
    """Room or identifiers have run out."""

    errno = errno.ENOSPC


class WrongVersion(Refused):
    """The caller speaks another version of the protocol."""

    errno = errno.EPROTO


class TimedOut(Refused):
    """A node did not finish in time; the work goes on or ends with a reason."""

    errno = errno.ETIMEDOUT


class HostDown(Refused):
    """A node that is needed does not answer."""

    errno = errno.EHOSTDOWN


class NodeRefused(Refused):
    """A node refused or failed, with an errno that only it knew."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message or os.strerror(errno))
        self.errno = errno
