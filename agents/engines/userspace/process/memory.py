"""How an engine process deals with memory: that of payloads, and when the machine has none left."""

import contextlib
import ctypes
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 32 << 20
"""glibc's largest threshold, and the longest payload (mallopt(3))."""


def keep_for_payloads() -> None:
    """Have the allocator keep up to 32 MiB of free memory for the next payloads.

    By itself glibc gives a payload's memory back to the kernel and takes it anew for the next, page
    by page and each of them zeroed: that costs as much as all the rest of a request of 1 MiB. A C
    library that has no mallopt is left as it is.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(MMAP_THRESHOLD, KEPT_BYTES)


IO_FLUSHER = 57
LOCK_PRESENT, LOCK_COMING, LOCK_ON_FAULT = 1, 2, 4
OUT_OF_MEMORY_SCORE = Path("/proc/self/oom_score_adj")
NEVER_KILLED = b"-1000"


def serve_writeback() -> None:
    """Go on when the machine's memory is full of pages that wait to be written through us.

    The kernel writes such pages to free memory, and their device is this process, or one that it
    needs. So it must not wait for that itself when it asks for memory (PR_SET_IO_FLUSHER, prctl(2);
    children and threads begin with it), and it is not what is killed for memory. Who is not root
    may do neither, and is the device of no file system.
    """
    with contextlib.suppress(OSError):
        OUT_OF_MEMORY_SCORE.write_bytes(NEVER_KILLED)
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(IO_FLUSHER, 1, 0, 0, 0)


def lock_pages() -> None:
    """Keep this process's pages, each from when it is used (mlockall(2)), for the same reason.

    What is shared with the fork server stays shared, and of a thread's stack most is never used. It
    takes a millisecond, so an attach does not wait for it.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mlockall(LOCK_PRESENT | LOCK_COMING | LOCK_ON_FAULT)
