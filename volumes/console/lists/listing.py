"""What all lists of the console have in common: nothing is edited, every action is previewed."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from volumes.console.frame.page import is_asked_by_page, number
from volumes.console.frame.permissions import Right, may
from volumes.reports import search

PER_PAGE = 50


class Listing(ModelAdmin):
    """A list that is searched, filtered and sorted; its rows lead to pages of our own."""

    list_per_page = PER_PAGE
    list_max_show_all = 0
    show_full_result_count = False
    # A count beside each filter would read everything once per choice.
    show_facets = admin.ShowFacets.NEVER
    list_disable_select_all = True
    list_fullwidth = True
    is_live = True
    nothing = "There is none yet."
    """What an empty list says."""

    def prepare(self, rows: Sequence[Any]) -> None:
        """Read what the columns of one page need, in a constant number of queries."""

    def get_changelist(self, request: HttpRequest, **_: Any) -> Any:
        return PreparedList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Show the list; to a page that is open already, its rows only."""
        answer = super().changelist_view(request, extra_context)
        if is_asked_by_page(request) and isinstance(answer, TemplateResponse):
            answer.template_name = "console/rows.html"
        return answer

    def get_object(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        """Find a row by its number."""
        if number(unquote(object_id)) < 0:
            return None
        return super().get_object(request, object_id, *args, **kwargs)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by text, or by the id as it is shown everywhere."""
        found, doubles = super().get_search_results(request, queryset, search_term)
        if numbers := search.read(search_term).numbers:
            found = found | queryset.filter(pk__in=numbers)
        return found, doubles

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, Right.VIEW)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.VIEW)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.OPERATE)

    def has_administer_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.ADMINISTER)


class PreparedList(ChangeList):
    """Reads a page of rows and then, at once, what its columns need."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = str(self.opts.verbose_name_plural).capitalize()

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except OverflowError:  # SQLite has no number as large as one that is asked for
            raise IncorrectLookupParameters from None
        if not (self.has_active_filters or self.query):
            # Nothing is hidden: the title then offers no "Show all".
            self.full_result_count = self.result_count
        self.result_list = list(self.result_list)
        if isinstance(self.model_admin, Listing):
            self.model_admin.prepare(self.result_list)


def previewed(verb: str, title: str, right: Right = Right.OPERATE) -> Callable[..., HttpResponse]:
    """Make a list action that leads to the preview of what will and what will not be done."""

    @admin.action(description=title, permissions=[right.value])
    def go(_: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        if request.POST.get("select_across") == "1":
            query = urlencode(
                [("match", request.GET.urlencode()), ("back", request.get_full_path())]
            )
            return HttpResponseRedirect(f"{reverse('console:act-on-all', args=[verb])}?{query}")
        chosen = [("on", pk) for pk in rows.order_by("pk").values_list("pk", flat=True)]
        query = urlencode([*chosen, ("back", request.get_full_path())])
        return HttpResponseRedirect(f"{reverse('console:act', args=[verb])}?{query}")

    go.__name__ = verb.replace("-", "_")
    return go
