"""The process of one attached group: serves its devices until it is detached."""

import errno
import gc
import os

from agents.engines.base import EngineError
from agents.engines.userspace.head import state_file
from agents.engines.userspace.head.group import Group
from agents.engines.userspace.loop.coroutines import LoopTask
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.process import dialogue, memory, spawn
from agents.engines.userspace.process.control import ControlSocket

LOCK_SECONDS = 0.1
"""After which pages are locked: who attached opens the device first, and would wait for that."""


def prepare() -> Reactor:
    """Do what is alike for all groups, in a process forked of the fork server."""
    # What is made until the group is assembled lives as long as the process: no garbage there.
    gc.disable()
    return Reactor()


def main(reactor: Reactor, arguments: dialogue.HeadArguments, report: spawn.Report) -> None:
    """Serve a group; reports once the devices are published."""
    try:
        saved = _begin(arguments)
    except EngineError as error:
        report(dialogue.error_reply(error))
        return
    group = Group(reactor, arguments, saved)

    async def begin() -> None:
        try:
            await group.assemble()
        except EngineError as error:
            report(dialogue.error_reply(error))
            reactor.stop()
            return
        gc.freeze()
        gc.enable()
        listener = spawn.listen(arguments.control)
        ControlSocket(reactor, listener, group.perform)
        report(dialogue.value_reply(group.reports()))
        reactor.after(LOCK_SECONDS, memory.lock_pages)

    LoopTask(begin())
    reactor.run()


def _begin(arguments: dialogue.HeadArguments) -> state_file.SavedGroup:
    if not spawn.take_lock(arguments.lock, dialogue.LockHolder(os.getpid())):
        raise EngineError(errno.EBUSY, "the group's process runs already")
    saved = state_file.read_state(arguments.folder)
    if saved is None or not saved.devices:
        raise EngineError(errno.ENOENT, "the group's state file cannot be read")
    # All have the fork server's command line, so this is what `ps` can tell them apart by.
    with open("/proc/self/comm", "wb") as name:
        name.write(b"vas-%08x" % saved.lvolid)
    return saved
