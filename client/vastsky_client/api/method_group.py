"""What the groups of methods share: the connection, and pages of lists."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from vastsky_client.api.connection import Connection

PAGE = 1000
Row = TypeVar("Row")


class Calls:
    """Methods of the API as methods of Python: their members are keywords, by their wire names."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._call = connection.call


def pages(
    read: Callable[..., Sequence[Row]], key: str, *, limit: int = PAGE, **about: Any
) -> Iterator[Row]:
    """Read a long list a page at a time: `pages(manager.list_logical_volumes, "lvolid")`."""
    after = 0
    while page := read(after=after, limit=limit, **about):
        if int(page[0][key]) <= after:  # type: ignore[index]  # a struct
            return  # an older manager, which knows no pages and has sent all at once
        yield from page
        after = int(page[-1][key])  # type: ignore[index]  # likewise
