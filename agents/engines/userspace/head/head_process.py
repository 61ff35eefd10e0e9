"""The process of one attached group: serves its devices until it is detached."""

import errno
import gc
import os
from collections.abc import Callable
from typing import Any

from agents.engines.base import EngineError
from agents.engines.userspace.head import state_file
from agents.engines.userspace.head.group import Group
from agents.engines.userspace.loop.coroutines import LoopTask
from agents.engines.userspace.loop.reactor import Reactor
from agents.engines.userspace.process import spawn
from agents.engines.userspace.process.control import ControlSocket


def main(arguments: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """Run as a process forked of the template; reports once the devices are published."""
    if not spawn.take_lock(arguments["lock"], {"pid": os.getpid()}):
        report({"errno": errno.EBUSY, "message": "the group's process runs already"})
        return
    kept = state_file.read_record(arguments["folder"])
    if kept is None:
        report({"errno": errno.ENOENT, "message": "the group's record cannot be read"})
        return
    # All have the template's command line, so this is what `ps` can tell them apart by.
    with open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write(f"vas-{kept['lvolid']:08x}")
    # What is made until the group is assembled lives as long as the process: no garbage there.
    gc.disable()
    reactor = Reactor()
    group = Group(reactor, arguments, kept)

    async def begin() -> None:
        try:
            await group.assemble()
        except EngineError as error:
            report({"errno": error.errno, "message": str(error)})
            reactor.stop()
            return
        gc.freeze()
        gc.enable()
        listener = spawn.listen(arguments["control"])
        ControlSocket(reactor, listener, group.perform)
        state = await group.perform({"do": "state"})
        report({"value": state["copies"]})

    LoopTask(begin())
    reactor.run()
