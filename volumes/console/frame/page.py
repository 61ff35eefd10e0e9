"""A page of the console inside the admin's frame."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.urls.converters import IntConverter
from django.views.decorators.cache import never_cache

from inventory.ids import LAST
from volumes.console.frame.permissions import Right, may

ENOUGH = 286
"""The status by which htmx asks no more."""
View = Callable[..., HttpResponseBase]


def page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    """Render a page with the admin's frame, or a fragment of one without it."""
    frame = admin.site.each_context(request)
    return TemplateResponse(request, template, {**frame, "title": title, **context})


def fragment(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Render a part of a page, as htmx asks for it."""
    return TemplateResponse(request, template, context)


def part_of(name: str) -> Callable[[View], View]:
    """Give a fragment to its page only; a person who asks for it is led to that page."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if is_asked_by_page(request):
                return view(request, *args, **kwargs)
            query = request.GET.urlencode()
            return redirect(reverse(name, args=[*kwargs.values()]) + (f"?{query}" if query else ""))

        return guarded

    return decorate


def is_asked_by_page(request: HttpRequest) -> bool:
    """Tell whether htmx asks, for a part of a page that is open already."""
    return "HX-Request" in request.headers


def viewing(view: View) -> View:
    """Let only those see this page who may look at the cluster."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may(request.user, Right.VIEW):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return admin.site.admin_view(never_cache(guarded))


def number(text: str) -> int:
    """Read a number out of an address; what is none, or is beyond all ids, names nothing."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LAST)):
        return -1
    return int(text) if int(text) <= LAST else -1


class IdConverter(IntConverter):
    """Matches the numbers that an id can be; a database takes no larger ones."""

    def to_python(self, value: str) -> int:
        """Read the number; ValueError says that the address leads nowhere."""
        if (found := number(value)) < 0:
            raise ValueError(f"{value[:20]} is no id")
        return found
