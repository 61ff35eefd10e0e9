"""What a command works with: the manager, the names of servers, and how long it may wait."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from vastsky_client.api import Manager, Refused
from vastsky_client.api.structs import Job
from vastsky_client.command.server_names import NO_SUCH_METHOD, Names

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
T = TypeVar("T")
Tell = Callable[[Job], None]


class JobFailed(Exception):
    """The job that was waited for did not end well; the text says how."""


class Late(Exception):
    """The time that was given is over; the work goes on."""


class Unsupported(Exception):
    """The manager is of an older release, which cannot do this."""


@dataclass
class Session:
    """One run of the command."""

    manager: Manager
    wait: bool = False
    timeout: float = 0.0
    tell: Tell = lambda _: None

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.timeout if self.timeout else float("inf")

    @cached_property
    def names(self) -> Names:
        """How servers are called."""
        return Names(self.manager)

    def patiently(self, call: Callable[[int], T]) -> T:
        """Make a call; with `--wait` again and again while it is refused for now.

        The call is given whether it comes again: its `converge`, with which EBUSY is no longer
        said of what only has to end first.
        """
        pause, again = FIRST_PAUSE, 0
        while True:
            try:
                return call(again)
            except Refused as refusal:
                unsure = not again and refusal.faultCode == errno.EBUSY
                if not (self.wait and (refusal.again_later or unsure)):
                    raise
                self._sleep(pause, str(refusal))
            pause, again = min(pause * 1.5, LONGEST_PAUSE), 1

    def follow(self, eventid: int) -> Job:
        """Wait until a job is over, and tell how far it is; JobFailed unless it ends well."""
        pause = FIRST_PAUSE
        while True:
            job = self.look(eventid)
            self.tell(job)
            if job["state"] == "done":
                return job
            if job["state"] != "open":
                why = job["error"] or "nobody says why"
                raise JobFailed(f"{self._title(job)} {job['state']}: {why}")
            self._sleep(pause, f"{self._title(job)} goes on as job {eventid}")
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def maybe_follow(self, eventid: int) -> Job:
        """Show a job; with `--wait` once it is over."""
        if self.wait:
            return self.follow(eventid)
        return self.look(eventid)

    def look(self, eventid: int) -> Job:
        """Show a job as it is now; an older manager tells of open ones alone."""
        try:
            return self.manager.show_job(eventid=eventid)
        except Refused as refusal:
            if refusal.faultCode != NO_SUCH_METHOD:
                raise
        for job in self.manager.list_jobs():
            if job["eventid"] == eventid:
                job.setdefault("state", "open")
                return job
        raise Unsupported(f"job {eventid} is over; the manager is too old to tell how it ended")

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call that an older manager does not know."""
        try:
            return call()
        except Refused as refusal:
            if refusal.faultCode == NO_SUCH_METHOD:
                raise Unsupported(f"the manager is too old for this: {refusal}") from None
            raise

    def _title(self, job: Job) -> str:
        return f"{job['kind']} of {self.names.without_ids(job['subject'])}"

    def _sleep(self, pause: float, doing: str) -> None:
        if time.monotonic() + pause > self._until:
            raise Late(f"not done within {self.timeout:g} s: {doing}")
        time.sleep(pause)
