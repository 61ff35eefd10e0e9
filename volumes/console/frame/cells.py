"""Small pieces of HTML that lists and templates share."""

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from volumes.console.frame.formats import NOTHING, size


def named(first: str, second: object) -> SafeString:
    """Show a name with a smaller line below it."""
    return format_html('<span class="vs-name">{}<small>{}</small></span>', first, second)


def link(row: Model | None, text: object = "") -> SafeString | str:
    """Link to a row's page."""
    if row is None:
        return NOTHING
    meta = row._meta  # noqa: SLF001  Django's documented API
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a class="vs-link" href="{}">{}</a>', url, text or row)


def bar(part: float, whole: float, text: str) -> SafeString:
    """Show a share as a bar with its text beside it."""
    percent = round(100 * part / whole) if whole else 0
    return format_html(
        '<span class="vs-share"><span class="vs-bar" role="img" aria-label="{0} %">'
        '<span style="width:{0}%"></span></span>{1}</span>',
        percent,
        text,
    )


def used_bar(capacity_gb: int, free_gb: int, allocatable_gb: int | None = None) -> SafeString:
    """Show how full something is, and if what is free cannot be allocated now."""
    text = f"{size(free_gb)} of {size(capacity_gb)} free"
    if allocatable_gb is not None and allocatable_gb < free_gb:
        text += f", {size(allocatable_gb) if allocatable_gb else 'none'} to be allocated now"
    return bar(capacity_gb - free_gb, capacity_gb, text)
