"""The methods about work: jobs, events, evacuations and maintenance."""

# mypy: disable-error-code="no-any-return"
# As in volume_calls.

from vastsky_client.api.method_group import Calls
from vastsky_client.api.structs import EvacuationPlan, Event, EventPage, Job


class WorkCalls(Calls):
    """List and steer jobs, each by its eventid."""

    def list_jobs(self, *, after: int = 0, limit: int = 0) -> list[Job]:
        """List the open jobs, oldest first."""
        return self._call("vastsky.listJobs", after=after, limit=limit)

    def show_job(self, *, eventid: int) -> Job:
        """Show a job, be it over or not."""
        return self._call("vastsky.showJob", eventid=eventid)

    def list_events(self, *, event_status: int = 0, all: int = 0) -> list[Event]:  # noqa: A002  wire
        """List rebuilds, shreds and unequal blocks by their status, or all."""
        return self._call("listEvents", event_status=event_status, all=all)

    def events(
        self,
        *,
        lvolid: int = 0,
        hsvrid: int = 0,
        ssvrid: int = 0,
        pdskid: int = 0,
        eventid: int = 0,
        severity: str = "info",
        kind: str = "",
        since: str = "",
        until: str = "",
        limit: int = 100,
        cursor: str = "",
        follow: int = 0,
    ) -> EventPage:
        """Tell what happened, newest first, and the cursor of the next page: vastsky.listEvents."""
        return self._call(
            "vastsky.listEvents",
            lvolid=lvolid,
            hsvrid=hsvrid,
            ssvrid=ssvrid,
            pdskid=pdskid,
            eventid=eventid,
            severity=severity,
            kind=kind,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
            follow=follow,
        )

    def pause_job(self, *, eventid: int) -> None:
        """Let an evacuation or a scrub rest."""
        self._call("vastsky.pauseJob", eventid=eventid)

    def resume_job(self, *, eventid: int) -> None:
        """Let an evacuation or a scrub go on."""
        self._call("vastsky.resumeJob", eventid=eventid)

    def cancel_job(self, *, eventid: int) -> None:
        """Stop an attach, an evacuation, a maintenance, a scrub or a mend."""
        self._call("vastsky.cancelJob", eventid=eventid)

    def retry_job(self, *, eventid: int) -> None:
        """Take a waiting job's next step now."""
        self._call("vastsky.retryJob", eventid=eventid)

    def force_job(self, *, eventid: int) -> None:
        """Take responsibility for what an attach, a detach or a rebuild waits for."""
        self._call("vastsky.forceJob", eventid=eventid)

    def plan_evacuation(self, *, ssvrid: int = 0, pdskid: int = 0) -> EvacuationPlan:
        """Tell what an evacuation would move, and what has no other place."""
        return self._call("vastsky.planEvacuation", ssvrid=ssvrid, pdskid=pdskid)

    def evacuate(self, *, ssvrid: int = 0, pdskid: int = 0, converge: int = 0) -> int:
        """Move every replica away from a server or disk; the eventid."""
        return self._call("vastsky.evacuate", ssvrid=ssvrid, pdskid=pdskid, converge=converge)

    def return_to_service(self, *, ssvrid: int = 0, pdskid: int = 0) -> None:
        """Let a server or disk that was drained take new data again; its evacuation ends."""
        self._call("vastsky.returnToService", ssvrid=ssvrid, pdskid=pdskid)

    def maintenance(
        self, *, ssvrid: int = 0, pdskid: int = 0, minutes: int = 60, converge: int = 0
    ) -> int:
        """Leave a server or disk alone for some minutes; the eventid."""
        return self._call(
            "vastsky.maintenance",
            ssvrid=ssvrid,
            pdskid=pdskid,
            minutes=minutes,
            converge=converge,
        )
