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
    given: set[Any] = set()
    beyond: dict[str, Any] = {}
    while page := read(limit=limit, **beyond, **about):
        rows: Sequence[Any] = page
        if rows[0].get(key) in given:
            return  # an older manager, which knows no pages and has sent all at once
        yield from page
        if key not in rows[-1]:
            return  # likewise
        given |= {row[key] for row in rows}
        beyond = {"after": rows[-1][key]}
