"""The filters of a list, as they stand open above it."""

from dataclasses import dataclass
from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that a filter may be set to."""

    text: str
    query: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class ShownFilter:
    """A filter with its choices; `chosen` is what it is set to, "" where it lets everything by."""

    title: str
    choices: list[Choice]
    chosen: str
    clear: str


def of_list(changelist: Any) -> list[ShownFilter]:
    """Read the filters of a list; the first choice of each lets everything by."""
    return [_read(spec, changelist) for spec in changelist.filter_specs]


def without_search(changelist: Any) -> str:
    """Write the address of the list with its filters alone."""
    query: str = changelist.get_query_string(remove=[SEARCH_VAR])
    return query


def _read(spec: Any, changelist: Any) -> ShownFilter:
    choices = [
        Choice(str(choice["display"]), choice["query_string"], bool(choice["selected"]))
        for choice in spec.choices(changelist)
    ]
    chosen = next((choice.text for choice in choices[1:] if choice.chosen), "")
    return ShownFilter(str(spec.title), choices, chosen, choices[0].query if choices else "?")
