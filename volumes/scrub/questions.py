"""Ask storage servers for digests of replicas, and heads to compare blocks under a range lock."""

import errno
from functools import partial

from agents.checksums import BLOCKS
from agents.client import Fault
from agents.protocol import ChecksumQuestion, ChecksumReply, ReplicaMark, VerifyOrder, VerifyReply
from agents.struct_codec import Malformed
from inventory import servers
from volumes import labels, nodes
from volumes.models import Attachment
from volumes.repair.situation import Situation
from volumes.scrub.comparison import Digests


class TooOld(Exception):
    """A node that is needed does not know the question; the text names it."""


def chunks(
    situation: Situation, offset_mib: int, count: int
) -> tuple[Digests, tuple[ReplicaMark, ...]]:
    """Ask for the digests of chunks: as many as all servers tell, at least one; and for marks."""
    replies = _ask(situation, offset_mib, count, fine=False)
    told = min(reply.chunks for reply in replies.values())
    digests = {dextid: reply.digests[:told] for dextid, reply in replies.items()}
    return digests, tuple(reply.mark for reply in replies.values())


def blocks(situation: Situation, offset_mib: int) -> Digests:
    """Ask for the digests of all blocks of a chunk."""
    replies = _ask(situation, offset_mib, 1, fine=True)
    return {dextid: reply.digests for dextid, reply in replies.items()}


def _ask(
    situation: Situation, offset_mib: int, count: int, *, fine: bool
) -> dict[int, ChecksumReply]:
    incarnation = servers.cluster().incarnation
    agents = nodes.storages([replica.server for replica in situation.replicas])
    answers = nodes.ask_all(
        {
            replica.dextid: partial(
                agents[replica.server].checksums,
                ChecksumQuestion(incarnation, replica.ref, offset_mib, count, fine),
            )
            for replica in situation.replicas
        }
    )
    of_chunk = BLOCKS if fine else 1
    replies = {}
    for replica in situation.replicas:
        answer = answers[replica.dextid]
        if not isinstance(answer, ChecksumReply):
            raise _explained(answer, replica.server_label)
        if answer.chunks < 1 or len(answer.digests) != answer.chunks * of_chunk:
            raise Malformed(f"{replica.server_label} told {len(answer.digests)} digests")
        replies[replica.dextid] = answer
    return replies


def verify(
    situation: Situation,
    attachment: Attachment,
    place: tuple[int, int, int],
    source: int = 0,
    expected: str = "",
) -> Digests:
    """Have the head compare blocks: `place` is chunk, first block, count. A source mends them."""
    offset_mib, first, count = place
    order = VerifyOrder(
        eventid=situation.job.pk,
        incarnation=servers.cluster().incarnation,
        lvolid=attachment.volume_id,
        epoch=attachment.volume.epoch,
        mirrorid=situation.mirror.pk,
        offset_mib=offset_mib,
        first=first,
        count=count,
        source=source,
        expected=expected,
    )
    try:
        reply: VerifyReply = nodes.head(attachment.head_id).verify(order)
    except Fault as fault:
        raise _explained(fault, labels.head(attachment.head_id)) from None
    return {replica.dextid: replica.digests for replica in reply.replicas}


def _explained(failure: nodes.Failure, who: str) -> Exception:
    if isinstance(failure, Fault) and failure.errno == errno.ENOSYS:
        return TooOld(f"{who}: its agent, or what it runs, is too old to compare replicas")
    return failure
