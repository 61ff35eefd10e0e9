"""The methods of the API for operators: start again, evacuate or spare a place, steer jobs."""

from collections.abc import Callable
from typing import Annotated, Any

from agents.xmlrpc import INT_MAX
from inventory import names, registration, servers
from inventory.errors import Invalid, NotFound
from inventory.models import Disk, HeadServer, StorageServer
from inventory.server_rpc import parse_addresses
from volumes.models import Job
from volumes.repair import drain
from volumes.worker import operations


def resume() -> int:
    """Let servers register again that shutdownAll took out of service; how many."""
    return servers.resume()


def move_server(*, ip_data: list[str | int], hsvrid: int = 0, ssvrid: int = 0) -> None:
    """Look for a server at other addresses from now on; EEXIST where another server is there.

    A node that says who it is, as all do but those of an older version, needs no such word.
    """
    registration.move(_find_server(hsvrid, ssvrid), parse_addresses(ip_data))


def rename_server(*, name: Annotated[str, 64], hsvrid: int = 0, ssvrid: int = 0) -> None:
    """Call a server otherwise; EEXIST if another one of its kind is called so.

    "" gives it the name of its host again.
    """
    names.rename(_find_server(hsvrid, ssvrid), name)


def forget_node(*, hsvrid: int = 0, ssvrid: int = 0) -> None:
    """Let the node that registers next at a server's addresses be this server, whoever it is."""
    registration.forget_node(_find_server(hsvrid, ssvrid))


def plan_evacuation(*, ssvrid: int = 0, pdskid: int = 0) -> dict[str, Any]:
    """Return what evacuating a server or disk would move, and what has no other place."""
    plan = drain.plan_evacuation(_find_place(ssvrid, pdskid))
    gb = min(plan.gb, INT_MAX)
    return {"copies": plan.replicas, "gb": gb, "stuck": plan.stuck, "reason": plan.reason}


def evacuate(*, ssvrid: int = 0, pdskid: int = 0, converge: int = 0) -> int:
    """Begin to move every replica away from a server or disk; the job's eventid.

    converge: that of the evacuation that has begun already.
    """
    place = _find_place(ssvrid, pdskid)
    if converge and (job := drain.standing(place, Job.Kind.EVACUATE)):
        return job.pk
    return drain.start_evacuation(place).pk


def return_to_service(*, ssvrid: int = 0, pdskid: int = 0) -> None:
    """Let a server or disk that was drained take new data again; its evacuation ends."""
    drain.return_to_service(_find_place(ssvrid, pdskid))


def maintain(*, ssvrid: int = 0, pdskid: int = 0, minutes: int = 60, converge: int = 0) -> int:
    """Leave a server or disk alone for some minutes; the job's eventid.

    converge: that of the maintenance that has begun already, whenever it ends.
    """
    place = _find_place(ssvrid, pdskid)
    if converge and (job := drain.standing(place, Job.Kind.MAINTENANCE)):
        return job.pk
    return drain.start_maintenance(place, minutes).pk


def pause_job(*, eventid: int) -> None:
    """Let an evacuation rest; what is being moved now is finished."""
    drain.pause(_find_job(eventid), paused=True)


def resume_job(*, eventid: int) -> None:
    """Let an evacuation go on that rests."""
    drain.pause(_find_job(eventid), paused=False)


def cancel_job(*, eventid: int) -> None:
    """Stop an attach, an evacuation or a maintenance; EINVAL for what cannot stop half-way."""
    operations.cancel_job(_find_job(eventid))


def retry_job(*, eventid: int) -> None:
    """Take a waiting job's next step now."""
    operations.retry_job(_find_job(eventid))


def force_job(*, eventid: int) -> None:
    """Take responsibility for what an attach, detach or rebuild waits for."""
    operations.force_job(_find_job(eventid))


def _find_server(hsvrid: int, ssvrid: int) -> HeadServer | StorageServer:
    if bool(hsvrid) == bool(ssvrid):
        raise Invalid("one of hsvrid and ssvrid is wanted")
    return HeadServer(pk=hsvrid) if hsvrid else StorageServer(pk=ssvrid)


def _find_place(ssvrid: int, pdskid: int) -> StorageServer | Disk:
    if bool(ssvrid) == bool(pdskid):
        raise Invalid("one of ssvrid and pdskid is wanted")
    place: StorageServer | Disk | None
    if ssvrid:
        place = StorageServer.objects.filter(pk=ssvrid).first()
    else:
        place = Disk.objects.filter(pk=pdskid).first()
    if place is None:
        raise NotFound("there is no such storage server" if ssvrid else "there is no such disk")
    return place


def _find_job(eventid: int) -> Job:
    job = Job.objects.select_related("server", "disk").filter(pk=eventid).first()
    if job is None:
        raise NotFound(f"there is no job {eventid}")
    return job


PROCEDURES: dict[str, Callable[..., Any]] = {
    "vastsky.resume": resume,
    "vastsky.moveServer": move_server,
    "vastsky.renameServer": rename_server,
    "vastsky.forgetNode": forget_node,
    "vastsky.planEvacuation": plan_evacuation,
    "vastsky.evacuate": evacuate,
    "vastsky.returnToService": return_to_service,
    "vastsky.maintenance": maintain,
    "vastsky.pauseJob": pause_job,
    "vastsky.resumeJob": resume_job,
    "vastsky.cancelJob": cancel_job,
    "vastsky.retryJob": retry_job,
    "vastsky.forceJob": force_job,
}
