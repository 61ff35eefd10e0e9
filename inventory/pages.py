"""Long lists a page at a time: what comes after an element, and no more than is asked for."""

from typing import NamedTuple, TypeVar

from django.db.models import Model, QuerySet

from inventory.errors import Invalid

MOST = 1000
"""In one page, if pages are asked for."""

Listed = TypeVar("Listed", bound=Model)


class Page(NamedTuple):
    """A part of a list that is in the order of ids: those beyond one, so many; 0: all."""

    after: int = 0
    limit: int = 0

    def of(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        """Choose a page's rows. What a list of all does not need costs it nothing."""
        beyond = rows.filter(pk__gt=self.after) if self.after else rows
        return beyond.order_by("pk")[: self.limit or None]


ALL = Page()


def parse_page(after: int, limit: int) -> Page:
    """Read which page is asked for."""
    if after < 0:
        raise Invalid("after and limit are 0 or more")
    return Page(after, parse_limit(limit))


def parse_limit(limit: int) -> int:
    """Read how much is asked for; 0: all."""
    if limit < 0:
        raise Invalid("after and limit are 0 or more")
    return min(limit, MOST)
