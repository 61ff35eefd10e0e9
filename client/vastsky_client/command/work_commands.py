"""The nouns job, evacuation, maintenance and scrub."""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from vastsky_client import operands, written_ids
from vastsky_client.api import Manager, structs
from vastsky_client.command import json_rows, text_cells, words
from vastsky_client.command.server_names import Unknown, written
from vastsky_client.command.session import Session
from vastsky_client.command.table import Argument, Column, Command, Noun

COLUMNS = (
    Column("JOB", lambda row: row["eventid"], right=True),
    Column("KIND", lambda row: row["kind"]),
    Column("SUBJECT", lambda row: row["about"]),
    Column("DONE", text_cells.progress, right=True),
    Column("WAITS FOR", lambda row: row["error"] or row["waiting"] or "-"),
    Column("ASKED BY", lambda row: row["actor"] or "-"),
)
STATUSES = {1: "pending", 2: "in progress", 3: "done", 4: "canceled", 5: "failed"}
EVENTS = {1: "unequal blocks", 2: "rebuild", 3: "shred"}

Steer = Callable[[Session, Namespace], None]


def list_jobs(session: Session, given: Namespace) -> list[Any]:
    """List the open jobs."""
    found = session.manager.list_jobs()
    chosen = [job for job in found if not given.kind or job["kind"] == given.kind]
    return list(json_rows.named(session.names, chosen))


def show_job(session: Session, given: Namespace) -> Any:
    """Show a job."""
    return json_rows.named(session.names, session.maybe_follow(given.job))


def history(session: Session, _: Namespace) -> list[structs.Event]:
    """List rebuilds, shreds and unequal blocks, newest first."""
    return session.manager.list_events(all=1)


def steering(verb: str) -> Steer:
    """Make what pauses, resumes, cancels, retries or forces a job."""

    def run(session: Session, given: Namespace) -> None:
        getattr(session.manager, f"{verb}_job")(eventid=given.job)

    return run


# -- care of a place ------------------------------------------------------------------------------


def evacuate(session: Session, given: Namespace) -> Any:
    """Move every replica away from a place."""
    which = session.names.place(given.place)
    eventid = session.patiently(lambda again: session.manager.evacuate(**which, converge=again))
    return json_rows.named(session.names, session.maybe_follow(eventid))


def return_to_service(session: Session, given: Namespace) -> None:
    """Let what was drained take new data again."""
    session.manager.return_to_service(**session.names.place(given.place))


def maintain(session: Session, given: Namespace) -> Any:
    """Leave a place alone for a while."""
    which = session.names.place(given.place)
    eventid = session.patiently(
        lambda again: session.manager.maintenance(**which, minutes=given.minutes, converge=again)
    )
    return json_rows.named(session.names, session.maybe_follow(eventid))


def listing(kind: str) -> Callable[[Session, Namespace], list[Any]]:
    """Make what lists the open jobs of a kind."""

    def run(session: Session, _: Namespace) -> list[Any]:
        found = session.manager.list_jobs()
        return list(json_rows.named(session.names, [job for job in found if job["kind"] == kind]))

    return run


def ending(kind: str, act: Callable[..., None]) -> Steer:
    """Make what does something to the evacuation or maintenance of a place."""

    def run(session: Session, given: Namespace) -> None:
        where = {"ssvrid": 0, "pdskid": 0} | session.names.place(given.place)
        for job in session.manager.list_jobs():
            if job["kind"] == kind and {key: job[key] for key in where} == where:  # type: ignore[literal-required]
                act(session.manager, eventid=job["eventid"])
                return
        raise Unknown(f"there is no {kind} of {given.place}")

    return run


# -- scrubs ---------------------------------------------------------------------------------------


def scrub(session: Session, given: Namespace) -> Any:
    """Compare all replicas of a volume; with `--wait` until all its mirrors are compared."""
    which = session.names.volume(given.volume)
    last = session.manager.scrub_volume(**which)
    if not session.wait:
        return json_rows.named(session.names, session.maybe_follow(last))
    (volume,) = session.manager.list_logical_volumes(**which)
    mark = written("lvolid", volume["lvolid"])
    for job in session.manager.list_jobs():
        if job["kind"] == "scrub" and mark in job["subject"]:
            session.follow(job["eventid"])
    return json_rows.named(session.names, session.follow(last))


def pause_scrubs(session: Session, _: Namespace) -> None:
    """Compare nothing until scrubs are resumed."""
    session.manager.pause_scrubs()


def resume_scrubs(session: Session, _: Namespace) -> None:
    """Let scrubs go on."""
    session.manager.resume_scrubs()


def differences(session: Session, _: Namespace) -> list[Any]:
    """List what differs between replicas."""
    return list(json_rows.named(session.names, session.manager.list_unequal_blocks()))


def mend(session: Session, given: Namespace) -> Any:
    """Give the other replicas what one has."""
    eventid = session.manager.mend_block(blockid=given.block, dextid=given.replica)
    return json_rows.named(session.names, session.maybe_follow(eventid))


JOB = Noun(
    "job",
    "work that is under way",
    (
        Command(
            "job", "list", "List the open jobs, oldest first.", "job list --kind rebuild",
            list_jobs, (Argument("--kind", "only jobs of this kind", default=""),),
            returns=list[json_rows.PrintedJob], columns=COLUMNS, methods=("vastsky.listJobs",),
        ),
        Command(
            "job", "show", "Show a job, be it over or not.", "job show 17 --wait", show_job,
            (words.JOB,), returns=json_rows.PrintedJob, columns=COLUMNS,
            methods=("vastsky.showJob",),
            waits=True,
        ),
        Command(
            "job", "history", "List rebuilds, shreds and unequal blocks, newest first.",
            "job history", history, returns=list[structs.Event],
            columns=(
                Column("JOB", lambda row: row["eventid"], right=True),
                Column("KIND", lambda row: EVENTS.get(row["event"], row["event"])),
                Column("STATE", lambda row: STATUSES.get(row["event_status"], "-")),
                Column("EXTENT", lambda row: f"dext-{row['targetid']:08x}"),
            ),
            methods=("listEvents",),
        ),
        *(
            Command(
                "job", verb, summary, f"job {verb} 17", steering(verb), (words.JOB,),
                methods=(f"vastsky.{verb}Job",),
            )
            for verb, summary in (
                ("pause", "Let an evacuation or a scrub rest."),
                ("resume", "Let an evacuation or a scrub go on."),
                ("cancel", "Stop an attach, an evacuation, a maintenance, a scrub or a mend."),
                ("retry", "Take a waiting job's next step now."),
                ("force", "Take responsibility for what an attach, detach or rebuild waits for."),
            )
        ),
    ),
)  # fmt: skip


def _care(kind: str, verb: str, summary: str, act: Callable[..., None], method: str) -> Command:
    return Command(
        kind, verb, summary, f"{kind} {verb} node-1",
        ending({"evacuation": "evacuate"}.get(kind, kind), act), (words.PLACE,),
        methods=(method, "vastsky.listJobs"),
    )  # fmt: skip


EVACUATION = Noun(
    "evacuation",
    "move all replicas away from a server or disk",
    (
        Command(
            "evacuation", "start", "Move every replica away from a server or disk.",
            "evacuation start node-1 --wait", evacuate, (words.PLACE,),
            returns=json_rows.PrintedJob, columns=COLUMNS,
            methods=("vastsky.evacuate",), waits=True,
        ),
        Command(
            "evacuation", "list", "List the evacuations under way.", "evacuation list",
            listing("evacuate"), returns=list[json_rows.PrintedJob], columns=COLUMNS,
            methods=("vastsky.listJobs",),
        ),
        _care("evacuation", "pause", "Let it rest; what has begun is finished.",
              Manager.pause_job, "vastsky.pauseJob"),
        _care("evacuation", "resume", "Let it go on.", Manager.resume_job, "vastsky.resumeJob"),
        _care("evacuation", "stop", "End it; the place takes new data again.",
              Manager.cancel_job, "vastsky.cancelJob"),
        Command(
            "evacuation", "undo",
            "Return a server or disk that is drained, or being drained, to service.",
            "evacuation undo node-1", return_to_service, (words.PLACE,),
            methods=("vastsky.returnToService",),
        ),
    ),
)  # fmt: skip

MAINTENANCE = Noun(
    "maintenance",
    "leave a server or disk alone for a while",
    (
        Command(
            "maintenance", "start",
            "Let nothing new land on a server or disk, and its silence replace nothing.",
            "maintenance start node-1 --minutes 30", maintain,
            (
                words.PLACE,
                Argument("--minutes", "how long; 60 if not given", operands.whole_number,
                         default=60),
            ),
            returns=json_rows.PrintedJob, columns=COLUMNS,
            methods=("vastsky.maintenance",), waits=True,
        ),
        Command(
            "maintenance", "list", "List the places in maintenance.", "maintenance list",
            listing("maintenance"), returns=list[json_rows.PrintedJob],
            columns=(*COLUMNS, Column("UNTIL", lambda row: row["until"])),
            methods=("vastsky.listJobs",),
        ),
        _care("maintenance", "stop", "End it before its time.",
              Manager.cancel_job, "vastsky.cancelJob"),
    ),
)  # fmt: skip

SCRUB = Noun(
    "scrub",
    "compare the replicas of volumes",
    (
        Command(
            "scrub", "start", "Compare all replicas of a volume soon.", "scrub start db --wait",
            scrub, (words.VOLUME,), returns=json_rows.PrintedJob, columns=COLUMNS,
            methods=("vastsky.scrubVolume",), waits=True,
        ),
        Command(
            "scrub", "list", "List the scrubs under way.", "scrub list", listing("scrub"),
            returns=list[json_rows.PrintedJob], columns=COLUMNS, methods=("vastsky.listJobs",),
        ),
        Command(
            "scrub", "pause", "Compare nothing in the whole cluster until it is resumed.",
            "scrub pause", pause_scrubs, methods=("vastsky.pauseScrubs",),
        ),
        Command(
            "scrub", "resume", "Let scrubs go on in the whole cluster.", "scrub resume",
            resume_scrubs, methods=("vastsky.resumeScrubs",),
        ),
        Command(
            "scrub", "differences", "List what differs between replicas now.",
            "scrub differences", differences, returns=list[json_rows.PrintedBlock],
            columns=(
                Column("BLOCK", lambda row: row["blockid"], right=True),
                Column("VOLUME", lambda row: row["lvolname"]),
                Column("OFFSET", lambda row: row["offset"], right=True),
                Column("LENGTH", lambda row: row["length"], right=True),
                Column("REPLICAS", lambda row: " ".join(
                    f"{text_cells.server(content)}:dext-{content['dextid']:08x}="
                    f"{content['digest'][:8] or 'zeros'}"
                    for content in row["contents"]
                )),
            ),
            methods=("vastsky.listUnequalBlocks",),
        ),
        Command(
            "scrub", "mend", "Give the other replicas what one of them has.",
            "scrub mend 3 dext-00000014 --wait", mend,
            (
                Argument("BLOCK", "a difference: its number", operands.whole_number),
                Argument("REPLICA", "the replica that is right: dext-…",
                         written_ids.reader("dext-")),
            ),
            returns=json_rows.PrintedJob, columns=COLUMNS,
            methods=("vastsky.mendBlock",), waits=True,
        ),
    ),
)  # fmt: skip
