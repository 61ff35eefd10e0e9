"""The ends of a node's logs, for who helps: its agent's, its engine's, what its kernel says of I/O.

Where an agent's log is, its standard error tells: a file, or the journal of its unit.
"""

import logging
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from agents import masking
from agents.node.config import ConfigError, NodeConfig, read_token
from agents.protocol import MOST_LOG_BYTES, LogQuestion, LogReply, LogText

logger = logging.getLogger(__name__)

STDERR = 2
MOST_FILES = 16
"""Of the engine's logs, the latest: a head has one for each group."""
TIMEOUT = 5.0
KMSG = Path("/dev/kmsg")
CGROUP = Path("/proc/self/cgroup")
KERNEL_SECONDS = 1.0
RECORD_BYTES = 8192
OF_INTEREST = re.compile(
    r"\berror\b|\btimed? ?out\b|\bfail(?:ed|ure|ing)?\b|\bmd\d*:|\bnbd\d*:|\bsession\d+:",
    re.IGNORECASE,
)
"""What the kernel says of disks, arrays and sessions that fail."""


class LogTail:
    """Tells the ends of all logs of a node; none has a secret that the node knows."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config

    def tell(self, question: LogQuestion) -> LogReply:
        """Read them; what cannot be read says why."""
        most = max(0, min(question.most_bytes, MOST_LOG_BYTES))
        secrets = self._secrets()
        told = []
        for name, read in self._sources(most):
            told.append(LogText(name, _plain(masking.mask(_made(read), secrets))))
        return LogReply(tuple(told))

    def _sources(self, most: int) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "agent.log", partial(own_log, most)
        folder = self._config.state_dir
        files = _engine_logs(folder)
        for path in files:
            name = ".".join(path.relative_to(folder).parts).removesuffix(".log")
            yield f"{name}.log", partial(tail, path, most // len(files))
        yield "kernel.log", partial(kernel_lines, most // 4)

    def _secrets(self) -> list[str]:
        try:
            return [read_token(self._config.token_file)] if self._config.token_name else []
        except ConfigError:
            return []


def own_log(most: int, descriptor: int = STDERR) -> str:
    """Read the end of what this process writes to its standard error."""
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode):
        return tail(Path(f"/proc/self/fd/{descriptor}"), most)
    if os.environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}":
        return journal(own_unit(), most)
    return (
        "This agent's log goes neither to a file nor to the journal: whoever started the agent"
        " has it.\n"
    )


def own_unit() -> str:
    """Name the unit of systemd that this process belongs to."""
    parts = [part for line in CGROUP.read_text().splitlines() for part in line.split("/")]
    return next((part for part in reversed(parts) if part.endswith(".service")), "vastsky-*")


def journal(unit: str, most: int) -> str:
    """Read the end of a unit's journal, or say why it cannot be read."""
    lines = max(most // 100, 1)
    command = ["journalctl", "--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}"]
    told = subprocess.run([*command, "-u", unit], capture_output=True, timeout=TIMEOUT, check=False)
    text = told.stdout.decode(errors="replace")
    if not text:
        why = told.stderr.decode(errors="replace").strip()
        return f"The journal of {unit} has nothing that this user may read. {why[:500]}\n"
    return text[-most:].partition("\n")[2] if len(text) > most else text


def tail(path: Path, most: int) -> str:
    """Read the end of a file, from the beginning of a line on."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - most, 0))
        if size > most:
            file.readline()
        return file.read(most).decode(errors="replace")


def kernel_lines(most: int, kmsg: Path | None = None) -> str:
    """Read what the kernel has said of errors since it started, and still has."""
    lines: list[str] = []
    descriptor = os.open(kmsg or KMSG, os.O_RDONLY | os.O_NONBLOCK)
    end = time.monotonic() + KERNEL_SECONDS
    try:
        while time.monotonic() < end and (chunk := _record(descriptor)):
            lines += filter(OF_INTEREST.search, map(_kernel_line, chunk.splitlines()))
    finally:
        os.close(descriptor)
    text = "".join(f"{line}\n" for line in lines)
    return text[-most:] or "The kernel's log has no line about an error.\n"


def _record(descriptor: int) -> str:
    """Read one record of /dev/kmsg; "" at the end."""
    try:
        return os.read(descriptor, RECORD_BYTES).decode(errors="replace")
    except BlockingIOError:
        return ""
    except BrokenPipeError:  # overwritten: the next read gives the oldest that is left
        return "\n"


def _kernel_line(record: str) -> str:
    """Write `level,number,microseconds,flags;text` as dmesg does."""
    head, mark, text = record.partition(";")
    parts = head.split(",")
    if not mark or len(parts) < 3 or not parts[2].isdigit():  # noqa: PLR2004  as far as we look
        return ""
    return f"[{int(parts[2]) / 1_000_000:12.6f}] {text}"


def _engine_logs(folder: Path) -> list[Path]:
    """Find the logs of the processes below the agent, the latest first."""
    found = [*folder.glob("*.log"), *folder.glob("*/*.log"), *folder.glob("*/*/log")]
    files = [one for one in found if one.is_file() and not one.is_symlink()]
    return sorted(files, key=lambda one: one.stat().st_mtime, reverse=True)[:MOST_FILES]


def _made(read: Callable[[], str]) -> str:
    try:
        return read()
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("a log could not be read: %s", error)
        return f"This could not be read: {error}\n"


def _plain(text: str) -> str:
    """Replace what XML cannot carry."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)
