"""The noun plan: what would happen, without anything that happens."""

from argparse import Namespace
from typing import Any

from vastsky_client.api import structs
from vastsky_client.command import json_rows, text_cells, words
from vastsky_client.command.server_names import KINDS_OF
from vastsky_client.command.session import Session
from vastsky_client.command.table import Column, Command, Noun


def plan_volume(session: Session, given: Namespace) -> Any:
    """Tell where a volume would lie."""
    plan = session.ask(
        lambda: session.manager.plan_volume(
            capacity=given.gib, redundancy=given.redundancy, tags=given.tags
        )
    )
    return json_rows.named(session.names, plan)


def plan_failure(session: Session, given: Namespace) -> structs.FailurePlan:
    """Tell what a death would do."""
    which: dict[str, Any] = {"site": given.site, "rack": given.rack}
    if given.place:
        which |= session.names.place(given.place, KINDS_OF[given.kind])
    return session.ask(lambda: session.manager.plan_failure(**which))


def plan_evacuation(session: Session, given: Namespace) -> structs.EvacuationPlan:
    """Tell what an evacuation would move."""
    return session.manager.plan_evacuation(**session.names.place(given.place))


def capacity(session: Session, given: Namespace) -> structs.Capacity:
    """Tell what room there is."""
    return session.ask(
        lambda: session.manager.capacity(redundancy=given.redundancy, tags=given.tags)
    )


def laid(plan: Any) -> str:
    """Show where mirrors would lie."""
    return "\n".join(
        f"{text_cells.gb(mirror['capacity'])} on "
        + ", ".join(
            f"{text_cells.server(replica)} pdsk-{replica['pdskid']:08x}"
            for replica in mirror["replicas"]
        )
        for mirror in plan["mirrors"]
    )


def room(told: Any) -> str:
    """Show room by failure domain."""
    lines = [f"{'SITE':12} {'RACK':12} {'SERVERS':>7} {'DISKS':>5} {'CAPACITY':>10} AVAILABLE"]
    lines += [
        f"{domain['site'] or '-':12} {domain['rack'] or '-':12} {domain['servers']:>7}"
        f" {domain['disks']:>5} {text_cells.gb(domain['capacity']):>10}"
        f" {text_cells.gb(domain['available']):>9}"
        for domain in told["domains"]
    ]
    largest = text_cells.gb(told["largest"])
    if reason := told.get("recovery"):
        lines.append(f"recovery mode, for {reason}: nothing is allocated until it ends")
        return "\n".join([*lines, f"largest volume then: {largest}"])
    return "\n".join([*lines, f"largest volume now: {largest}"])


MOVED = (
    Column("REPLICAS", lambda plan: plan["copies"], right=True),
    Column("SIZE", lambda plan: text_cells.gb(plan["gb"]), right=True),
    Column("WITHOUT ANOTHER PLACE", lambda plan: plan["stuck"], right=True),
    Column("BECAUSE", lambda plan: plan["reason"] or "-"),
)

PLAN = Noun(
    "plan",
    "what would happen, without anything that happens",
    (
        Command(
            "plan", "volume", "Show where a volume would lie if it were created now.",
            "plan volume 100 --redundancy 2", plan_volume,
            (words.GIB, words.REDUNDANCY, words.TAGS),
            returns=json_rows.PrintedPlan, line=laid, methods=("vastsky.planVolume",),
        ),
        Command(
            "plan", "failure", "Show what would be lost, cut off, or built anew if it died now.",
            "plan failure --site hall-1 --rack rack-2", plan_failure,
            (words.MORTAL, words.KIND, words.SITE, words.RACK),
            returns=structs.FailurePlan,
            columns=(
                Column("LOST FOR EVER", lambda plan: text_cells.names(plan["lost"])),
                Column("CUT OFF", lambda plan: text_cells.names(plan["cut_off"])),
                *MOVED,
            ),
            methods=("vastsky.planFailure",),
        ),
        Command(
            "plan", "evacuation", "Show what an evacuation would move.",
            "plan evacuation node-1", plan_evacuation, (words.PLACE,),
            returns=structs.EvacuationPlan, columns=MOVED, methods=("vastsky.planEvacuation",),
        ),
        Command(
            "plan", "capacity", "Show the room of each failure domain, and the largest volume.",
            "plan capacity --redundancy 2", capacity, (words.REDUNDANCY, words.TAGS),
            returns=structs.Capacity, line=room, methods=("vastsky.capacity",),
        ),
    ),
)  # fmt: skip
