"""`manage.py recover`: take up what the nodes know and this database does not."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from agents.protocol import StorageState
from inventory import audit, recovery
from inventory.command_line import manage
from inventory.errors import Invalid
from volumes import labels
from volumes.recovery import acquaint, apply, compare, held, quarantine, survey
from volumes.recovery.recovery_plan import Plan
from volumes.recovery.survey import Survey


class Command(BaseCommand):
    """Show what recovery would do; with --apply do it. It may be cut off and run again."""

    help = (
        "Ask all nodes what they hold and show what is to be taken up, quarantined and raised."
        " docs/recovery.md tells the steps."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Nothing is changed without --apply."""
        parser.add_argument("--apply", action="store_true", help="do what is shown")
        parser.add_argument(
            "--begin",
            action="store_true",
            help="before the manager starts: an older copy of the database came back by other"
            " means than `restore`",
        )
        parser.add_argument(
            "--without",
            action="append",
            default=[],
            metavar="NODE",
            help="go on without this node, ssvr-00000001 for example; it is asked once it answers",
        )

        parser.add_argument(
            "--from-nodes",
            nargs="*",
            metavar="A,B",
            help="of an empty database: learn what these nodes are, each by both its addresses;"
            " without any: learn the disks of those that registered since",
        )
        parser.add_argument(
            "--release",
            metavar="LVOL",
            help="have what is in quarantine of this volume zeroed, lvol-00000011 for example",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Refuse to apply while a node is silent that nobody excluded."""
        if options["begin"]:
            _begin_with_a_copy()
            self.stdout.write(
                f"recovery mode is on; next: start the manager, then {manage('recover')}"
            )
            return
        if options["release"]:
            released = quarantine.release(int(options["release"].removeprefix("lvol-"), 16))
            self.stdout.write(f"{released} replicas are to be zeroed")
            return
        if options["from_nodes"] is not None:
            self._learn([tuple(where.split(",")) for where in options["from_nodes"]])
        told = survey.take()
        if options["apply"] and not recovery.why():
            told = self._begin(told)
        chosen = held.plan_now(told)
        for line in labels.in_texts(_shown(told, chosen)):
            self.stdout.write(line)
        if not options["apply"]:
            return
        excluded = set(options["without"])
        if waiting := sorted(set(told.silent) - excluded):
            raise CommandError(
                f"{', '.join(labels.in_texts(waiting))} did not answer and may know more: start"
                " them, or go on without them by --without NODE"
            )
        if excluded:
            with transaction.atomic():
                named = ", ".join(labels.in_texts(sorted(excluded)))
                audit.record(audit.Action.EXCLUDE_NODES, "cluster", named)
        apply.carry_out(told, chosen, self.stdout.write)
        self.stdout.write("recovered")

    def _begin(self, told: Survey) -> Survey:
        """Begin recovery mode by the operator's word, where there is anything to take up."""
        news = next(compare.unknown(told), "")
        if not news:
            raise CommandError("the cluster is not in recovery mode: there is nothing to apply")
        recovery.enter(f"{news.removeprefix('nodes: ')}, and somebody wants it taken up")
        return survey.take()

    def _learn(self, named: list[tuple[str, ...]]) -> None:
        try:
            found = acquaint.learn(named) if named else acquaint.meet()
        except Invalid as refusal:
            raise CommandError(str(refusal)) from None
        for one in found:
            kind = "ssvr" if isinstance(one.state, StorageState) else "hsvr"
            self.stdout.write(f"learned: {kind}-{one.number:08x} at {', '.join(one.addresses)}")


def _shown(told: Survey, chosen: Plan) -> Iterator[str]:
    """Tell what is known, and what is to be done, line by line."""
    yield f"recovery mode: {recovery.why() or 'off'}"
    for reason in recovery.reasons()[1:]:
        yield f"               {reason}"
    for node, failure in sorted(told.silent.items()):
        yield f"silent: {node}: {failure}"
    yield f"raise: incarnation above {told.incarnation}, events to {chosen.next_event},"
    yield f"       numbers of volumes and extents to {chosen.next_id}"
    running = told.running
    for volume in chosen.volumes:
        number = volume.about.lvolid
        verb = "rebuild" if volume.is_new else "keep"
        where = f", runs on hsvr-{running[number].head:08x}" if number in running else ""
        yield f"{verb}: {volume.name} (lvol-{number:08x}): {len(volume.places)} replicas{where}"
    for number in chosen.deleted:
        yield f"deleted since: lvol-{number:08x}"
    for dextid in chosen.lost:
        yield f"gone: dext-{dextid:08x} is not on its disk any more"
    for place in chosen.surplus:
        yield f"replaced: dext-{place.dextid:08x} on {place.disk} is to be zeroed"
    for place, reason in chosen.quarantined.items():
        owner = place.found.volume
        what = f"dext-{place.dextid:08x} of {owner.name} (lvol-{owner.lvolid:08x})"
        yield f"quarantine: {what} on {place.disk}: {reason}"


@transaction.atomic
def _begin_with_a_copy() -> None:
    """Have the rows give out nothing before the nodes were asked: they look as if all was well."""
    if recovery.enter("an older copy of the database that came back"):
        recovery.leave_room("volume")
