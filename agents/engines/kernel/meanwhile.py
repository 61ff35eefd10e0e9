"""Something that has to wait in the kernel until something else is done."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

POLL_SECONDS = 0.1


def meanwhile(act: Callable[[], object], look: Callable[[], object]) -> None:
    """Do something that may have to wait for what `look` does: that is done again and again."""
    with ThreadPoolExecutor(1) as pool:
        doing: Future[object] = pool.submit(act)
        while not doing.done():
            look()
            wait([doing], timeout=POLL_SECONDS)
        doing.result()
