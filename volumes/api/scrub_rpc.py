"""The methods of the API about scrubs: compare replicas, tell what differs, mend it."""

from collections.abc import Callable
from typing import Annotated, Any

from inventory.pages import parse_page
from volumes.lifecycle.volumes import find_volume
from volumes.models import BlockContent, UnequalBlock
from volumes.scrub import findings, mending, passes

Name = Annotated[str, 64]


def scrub_volume(*, lvolid: int = 0, lvolname: Name = "") -> int:
    """Compare all replicas of a volume soon; the eventid of the (last) job."""
    return passes.request_scrub(find_volume(lvolid=lvolid, lvolname=lvolname)).pk


def pause_scrubs() -> None:
    """Compare nothing in the whole cluster until scrubs are resumed."""
    passes.pause_scrubs(paused=True)


def resume_scrubs() -> None:
    """Let scrubs go on in the whole cluster."""
    passes.pause_scrubs(paused=False)


def list_unequal_blocks(*, after: int = 0, limit: int = 0) -> list[dict[str, Any]]:
    """Return what differs between replicas now, each with the digests of what they have.

    limit of it, whose blockids are beyond after.
    """
    return [_block(block) for block in findings.open_blocks(parse_page(after, limit))]


def mend_block(*, blockid: int, dextid: int) -> int:
    """Give the other replicas what this one has; the eventid of the job that does it."""
    return mending.mend_block(findings.find_block(blockid), dextid).pk


def _block(block: UnequalBlock) -> dict[str, Any]:
    """Offsets of bytes are strings, as sectors are: they have more than 31 bits."""
    mirror = block.mirror
    return {
        "blockid": block.pk,
        "eventid": block.job_id or 0,
        "lvolid": mirror.volume_id,
        "lvolname": mirror.volume.name,
        "mirrorid": mirror.pk,
        "offset": str(block.volume_offset),
        "length": block.length,
        "source": block.source or 0,
        "contents": [_content(content) for content in block.contents.all()],
    }


def _content(content: BlockContent) -> dict[str, Any]:
    return {"dextid": content.dextid, "ssvrid": content.server_id, "digest": content.digest}


PROCEDURES: dict[str, Callable[..., Any]] = {
    "vastsky.scrubVolume": scrub_volume,
    "vastsky.pauseScrubs": pause_scrubs,
    "vastsky.resumeScrubs": resume_scrubs,
    "vastsky.listUnequalBlocks": list_unequal_blocks,
    "vastsky.mendBlock": mend_block,
}
