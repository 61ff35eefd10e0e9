"""What an engine process does with the memory that payloads leave behind."""

import contextlib
import ctypes

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
