"""Orders that take time: each is journalled and runs once; a repeat joins it."""

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from agents import log_lines
from agents.errors import AgentError
from agents.node.fences import Fences
from agents.node.journal import Entry, Journal, Key
from agents.protocol import VERSION, CancelOrder, Progress, ReplicaReport, Report
from agents.struct_codec import to_struct
from agents.xmlrpc import printable

logger = logging.getLogger(__name__)


class Cancelled(AgentError):
    """The manager took the order back."""

    def __init__(self) -> None:
        super().__init__(errno.ECANCELED, "cancelled")


class Order(Protocol):
    """What every journalled order has."""

    @property
    def eventid(self) -> int: ...
    @property
    def order(self) -> int: ...
    @property
    def incarnation(self) -> int: ...


class RunningOrder:
    """An order under way, shared by its worker and by those who ask for its report."""

    def __init__(self, key: Key, report: Report, journal: Journal) -> None:
        self.key = key
        self.report = report
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self._journal = journal

    def progress(self, done_mib: int, total_mib: int) -> None:
        """Tell how far it got; Cancelled if it should go no further."""
        self.report = replace(self.report, done_mib=done_mib, total_mib=total_mib)
        if self.cancelled.is_set():
            raise Cancelled

    def save(self) -> None:
        """Record the progress. Where that fails, the next agent begins the work anew."""
        try:
            self._journal.save(self.key, self.report)
        except sqlite3.Error as error:
            logger.warning("event %d.%d: no progress recorded: %s", *_numbers(self.key), error)

    def finish(self, report: Report) -> bool:
        """Record the end, then report it; False if it could not be recorded."""
        try:
            self._journal.save(self.key, report)
        except sqlite3.Error:
            logger.exception("event %d.%d: its end is not recorded", *_numbers(self.key))
            return False
        finally:
            self.report = report
            self.ended.set()
        return True


Work = Callable[[RunningOrder], tuple[ReplicaReport, ...]]


class Orders:
    """All orders of this agent."""

    def __init__(self, journal: Journal, fences: Fences) -> None:
        self._journal = journal
        self._fences = fences
        self._lock = threading.Lock()
        self._tasks: dict[Key, RunningOrder] = {}

    def admit(self, incarnation: int) -> None:
        """Refuse an older manager; a newer one does not want what the older had begun."""
        if not self._fences.admit(incarnation):
            return
        logger.warning("the manager's incarnation is now %d", incarnation)
        with self._lock:
            tasks = list(self._tasks.values())
        for task in tasks:
            task.cancelled.set()
        self._journal.drop_older(incarnation)

    def take(self, method: str, order: Order, work: Work, wait: float = 0) -> Report:
        """Begin an order, or join it, or recall its end; wait for its end so many seconds."""
        key = Key(order.eventid, order.order, method)
        with self._lock:
            struct = {**to_struct(order), "ver": VERSION}
            known = self._journal.begin(key, order.incarnation, struct)
            if known is None:
                self._start(key, Report(*_numbers(key), Progress.RUNNING), work)
            task = self._tasks.get(key)
        if task is not None:
            task.ended.wait(wait)
            return task.report
        return known or self.report(order.eventid, order.order)

    def resume(self, entry: Entry, work: Work) -> None:
        """Go on with an order that an earlier process of this agent had begun."""
        logger.info("event %d.%d: %s goes on", *_numbers(entry.key), entry.key.method)
        with self._lock:
            self._start(entry.key, entry.report, work)

    def report(self, eventid: int, order: int) -> Report:
        """Tell what became of an order."""
        with self._lock:
            for key, task in self._tasks.items():
                if _numbers(key) == (eventid, order):
                    return task.report
        entry = self._journal.find(eventid, order)
        return entry.report if entry else Report(eventid, order, Progress.UNKNOWN)

    def running(self) -> list[tuple[str, Report]]:
        """Tell the orders under way, by their methods."""
        with self._lock:
            tasks = [(key.method, task) for key, task in self._tasks.items()]
        return [(method, task.report) for method, task in tasks if not task.ended.is_set()]

    def acknowledge(self, eventids: tuple[int, ...]) -> None:
        """Forget results that the manager has."""
        self._journal.acknowledge(eventids)
        with self._lock:
            unrecorded = [task for task in self._tasks.values() if task.ended.is_set()]
        for task in unrecorded:
            if task.key.eventid in eventids:
                self._journal.forget(task.key)
                self._forget(task)

    def cancel(self, order: CancelOrder) -> None:
        """Ask a running order to stop; one that does not run stays as it is."""
        self.admit(order.incarnation)
        with self._lock:
            tasks = [task for key, task in self._tasks.items() if _numbers(key) == _pair(order)]
        for task in tasks:
            task.cancelled.set()

    def _forget(self, task: RunningOrder) -> None:
        with self._lock:
            self._tasks.pop(task.key, None)

    def _start(self, key: Key, report: Report, work: Work) -> None:
        task = RunningOrder(key, report, self._journal)
        self._tasks[key] = task
        name = f"{key.method}-{key.eventid}.{key.order}"
        threading.Thread(target=self._run, args=(task, work), name=name, daemon=True).start()

    def _run(self, task: RunningOrder, work: Work) -> None:
        with log_lines.about(job=task.key.eventid):
            self._do(task, work)

    def _do(self, task: RunningOrder, work: Work) -> None:
        number = f"event {task.key.eventid}.{task.key.order}"
        logger.info("%s: %s begins", number, task.key.method)
        try:
            replicas = work(task)
            report = replace(task.report, progress=Progress.DONE, replicas=replicas)
        except (AgentError, OSError) as error:
            report = _failed(task.report, error.errno or errno.EIO, str(error))
        except Exception:
            logger.exception("%s: %s has a defect", number, task.key.method)
            report = _failed(task.report, errno.EIO, "internal error; see the agent's log")
        logger.info("%s: %s %s %s", number, task.key.method, report.progress, report.message)
        if task.finish(report):
            self._forget(task)


def _failed(report: Report, errno: int, message: str) -> Report:
    return replace(report, progress=Progress.FAILED, errno=errno, message=printable(message))


def _numbers(key: Key) -> tuple[int, int]:
    return key.eventid, key.order


def _pair(order: CancelOrder) -> tuple[int, int]:
    return order.eventid, order.order
