"""How the command ends: numbers that scripts may rely on."""

import errno
import http
from enum import IntEnum


class Status(IntEnum):
    """An exit status; `MEANINGS` has what each says."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_THERE = 3
    IN_THE_WAY = 4
    AGAIN_LATER = 5
    NOT_ALLOWED = 6
    NO_MANAGER = 7
    ANSWER_LOST = 8
    JOB_FAILED = 9
    NO_ROOM = 10
    BUG = 11


MEANINGS = {
    Status.DONE: "done",
    Status.REFUSED: "refused, and will be again: EINVAL, or any errno that is not below",
    Status.USAGE: "wrong usage, a configuration that cannot be used, a word that means two things",
    Status.NOT_THERE: "there is no such thing: ENOENT",
    Status.IN_THE_WAY: "something is in the way that does not end by itself: EBUSY, EEXIST",
    Status.AGAIN_LATER: "the same may succeed later: EAGAIN, ETIMEDOUT, EHOSTDOWN; or `--timeout`"
    " is over",
    Status.NOT_ALLOWED: "the token is wrong, or its role does not have the method: EACCES",
    Status.NO_MANAGER: "no manager took the call: nothing was changed",
    Status.ANSWER_LOST: "a manager took the call and no answer came: it may have been carried out",
    Status.JOB_FAILED: "the job that was waited for failed or was canceled",
    Status.NO_ROOM: "no room, or no ids: ENOSPC",
    Status.BUG: "the manager failed, its log has the reason: 500",
}

OF_FAULTS = {
    errno.ENOENT: Status.NOT_THERE,
    errno.EBUSY: Status.IN_THE_WAY,
    errno.EEXIST: Status.IN_THE_WAY,
    errno.EAGAIN: Status.AGAIN_LATER,
    errno.ETIMEDOUT: Status.AGAIN_LATER,
    errno.EHOSTDOWN: Status.AGAIN_LATER,
    errno.EACCES: Status.NOT_ALLOWED,
    errno.ENOSPC: Status.NO_ROOM,
    int(http.HTTPStatus.INTERNAL_SERVER_ERROR): Status.BUG,
}


def of_fault(code: int) -> Status:
    """Tell how a fault ends the command."""
    return OF_FAULTS.get(code, Status.REFUSED)
