"""What a process tells of itself, by the names that Prometheus's own libraries use."""

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from agents.exposition import MetricSample, counter, gauge

CPU = counter("process_cpu_seconds_total", "CPU time of the process that answers, in seconds.")
MEMORY = gauge("process_resident_memory_bytes", "Memory of the process that answers, in bytes.")
FILES = gauge("process_open_fds", "Open files and sockets of the process that answers.")
MOST_FILES = gauge("process_max_fds", "Files and sockets that the process that answers may open.")
STARTED = gauge(
    "process_start_time_seconds", "When the process that answers was started, in Unix time."
)

SELF = Path("/proc/self")
PAGES, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
RESIDENT, BEGAN = 1, 19
"""Places in statm, and in stat behind the command's name."""


def tell() -> Iterator[MetricSample]:
    """Read them; of a process whose /proc is hidden there is only the CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield CPU.of(used.ru_utime + used.ru_stime)
    try:
        statm, stat = (SELF / "statm").read_text(), (SELF / "stat").read_text()
        up, files = Path("/proc/uptime").read_text(), len(list((SELF / "fd").iterdir()))
    except OSError:
        return
    yield MEMORY.of(int(statm.split()[RESIDENT]) * PAGES)
    yield FILES.of(files)
    yield MOST_FILES.of(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    ticks = int(stat.rpartition(")")[2].split()[BEGAN])
    yield STARTED.of(round(time.time() - float(up.split()[0]) + ticks / TICKS, 2))
