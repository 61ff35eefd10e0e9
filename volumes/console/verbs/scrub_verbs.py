"""What may be done about scrubs: begin one, let all rest, choose whose content is right."""

from inventory.models import Cluster
from volumes import labels
from volumes.console.verbs.verb import Rows, Verb, Wish
from volumes.models import BlockContent, Job, LogicalVolume, Mirror, UnequalBlock
from volumes.scrub import mending, passes


def _scrub(volume: LogicalVolume, _: Wish) -> Job:
    return passes.request_scrub(volume)


def _pause(_: Cluster, __: Wish) -> None:
    passes.pause_scrubs(paused=True)


def _resume(_: Cluster, __: Wish) -> None:
    passes.pause_scrubs(paused=False)


def _take(content: BlockContent, _: Wish) -> Job:
    return mending.mend_block(content.block, content.dextid)


# -- what would be refused, or is touched ---------------------------------------------------------


def _refuse_scrub(rows: Rows) -> dict[int, str]:
    busy = Job.objects.filter(kind=Job.Kind.SCRUB, state=Job.State.OPEN).exclude(mirror=None)
    idle = Mirror.objects.filter(volume__in=rows).exclude(pk__in=busy.values("mirror"))
    found = set(idle.values_list("volume", flat=True))
    said = {v.pk: "its replicas are being compared" for v in rows if v.pk not in found}
    return said | {v.pk: "it is broken" for v in rows if v.broken}


def _refuse_pause(rows: Rows) -> dict[int, str]:
    return {cluster.pk: "scrubs are paused" for cluster in rows if cluster.scrubs_paused}


def _refuse_resume(rows: Rows) -> dict[int, str]:
    return {cluster.pk: "scrubs are not paused" for cluster in rows if not cluster.scrubs_paused}


def _refuse_take(rows: Rows) -> dict[int, str]:
    blocks = UnequalBlock.objects.filter(contents__in=rows).exclude(state=UnequalBlock.State.OPEN)
    ended = {block.pk: block.get_state_display() for block in blocks}
    return {row.pk: f"they are {ended[row.block_id]}" for row in rows if row.block_id in ended}


def _take_hits(rows: Rows) -> list[str]:
    named = labels.storages(row.server_id for row in rows)
    return [
        f"{row.block.mirror.volume.name}: {row.block} are overwritten on the other replicas with"
        f" what is on {named[row.server_id]}"
        for row in rows
    ]


VERBS = [
    Verb(
        name="scrub-volume",
        explains=True,
        title="Scrub now",
        promise="All its replicas are compared from beginning to end, behind the clients.",
        icon="compare",
        model=LogicalVolume,
        do=_scrub,
        refuse=_refuse_scrub,
    ),
    Verb(
        name="take-content",
        title="Take this content",
        promise="The other replicas get what this one has. What they have there is lost.",
        icon="done_all",
        model=BlockContent,
        do=_take,
        refuse=_refuse_take,
        hits=_take_hits,
        asks=lambda row: row.block.mirror.volume.name,
        one_only=True,
        danger=True,
    ),
    Verb(
        name="pause-scrubs",
        title="Pause scrubs",
        promise="No replicas are compared in the whole cluster until you resume it.",
        icon="pause_circle",
        model=Cluster,
        do=_pause,
        refuse=_refuse_pause,
    ),
    Verb(
        name="resume-scrubs",
        title="Resume scrubs",
        promise="Replicas are compared again, the oldest comparison first.",
        icon="resume",
        model=Cluster,
        do=_resume,
        refuse=_refuse_resume,
    ),
]
