"""What follows from what was seen of a disk: pure, from one memory to the next."""

from dataclasses import replace

from agents.monitor.remembered import DISK, MonitorMemory, Sign, Untold

WINDOW = 600
MANY = 8
"""Bad GB within WINDOW seconds, beyond which it is the disk that fails and not a part of it."""
AGAIN = 24 * 3600
"""Seconds for which what was told is not told again."""
HOUR, HOURLY = 3600, 30
"""No more is told within an hour, whatever the kernel says."""


def bad_block(memory: MonitorMemory, pdskid: int, block: int, now: int) -> MonitorMemory:
    """A GB could not be read or written: it is bad, or one of too many, and then the disk is."""
    memory = _seeing(memory, Sign(pdskid, block, now))
    blocks = {sign.block for sign in memory.seen if sign.pdskid == pdskid}
    if len(blocks) > MANY:
        reason = f"kernel: errors in {len(blocks)} GB of it within {WINDOW // 60} minutes"
        return failure(memory, pdskid, reason, now)
    return _telling(memory, Untold(pdskid, block), now)


def failure(memory: MonitorMemory, pdskid: int, reason: str, now: int) -> MonitorMemory:
    """A disk fails, or says that it is about to."""
    return _telling(memory, Untold(pdskid, DISK, reason), now)


def _seeing(memory: MonitorMemory, sign: Sign) -> MonitorMemory:
    recent = [one for one in memory.seen if sign.at - WINDOW < one.at <= sign.at]
    others = [one for one in recent if (one.pdskid, one.block) != (sign.pdskid, sign.block)]
    kept = [one for one in memory.told if sign.at - AGAIN < one.at <= sign.at]
    return replace(memory, seen=(*others, sign), told=tuple(kept))


def _telling(memory: MonitorMemory, note: Untold, now: int) -> MonitorMemory:
    """Have it told, unless it was, or the disk's end was, or too much was told lately."""
    about = [one for one in memory.told if one.pdskid == note.pdskid and now - AGAIN < one.at]
    lately = [one for one in memory.told if now - HOUR < one.at <= now]
    if {note.block, DISK} & {one.block for one in about} or len(lately) >= HOURLY:
        return memory
    told = (*memory.told, Sign(note.pdskid, note.block, now))
    return replace(memory, told=told, notes=(*memory.notes, note))
