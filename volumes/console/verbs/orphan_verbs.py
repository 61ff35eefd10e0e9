"""What may be done to what nodes hold and this database does not understand."""

from volumes.console.frame.permissions import Right
from volumes.console.verbs.verb import Rows, Verb, Wish
from volumes.models import Orphan
from volumes.recovery import quarantine


def _release(orphan: Orphan, _: Wish) -> None:
    quarantine.release_one(orphan)


def _refuse_release(rows: Rows) -> dict[int, str]:
    no = "it is {}, not in quarantine: it goes with its node's knowledge"
    kept = Orphan.Kind.REPLICA
    return {row.pk: no.format(row.get_kind_display()) for row in rows if row.kind != kept}


def _names(rows: Rows) -> list[str]:
    return [f"{row.name or row} on {row.place}, disk {row.disk}" for row in rows]


VERBS = [
    Verb(
        name="release-orphan",
        title="Release from quarantine",
        promise="Its space is zeroed and may then be used. What it holds is gone for ever.",
        icon="delete_forever",
        model=Orphan,
        do=_release,
        right=Right.ADMINISTER,
        refuse=_refuse_release,
        at_stake=_names,
        stake="This may be the last that there is of",
        danger=True,
    ),
]
