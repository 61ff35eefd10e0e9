"""Numbers, times, links and bars in templates."""

from django import template
from django.template import Context

from inventory import clock
from inventory.command_line import manage
from volumes.console.frame import cells, formats, page_help, permissions
from volumes.console.lists import filters

register = template.Library()


@register.simple_tag(takes_context=True)
def help_here(context: Context) -> page_help.Help | None:
    """Find the help of the page that is shown."""
    request = context.get("request")
    match = getattr(request, "resolver_match", None)
    return page_help.of_view(match.view_name) if match else None


register.filter("size", formats.size)
register.filter("span", formats.span)
register.filter("clock", formats.clock)
register.filter("named_first", formats.named_first)
register.filter("since", formats.since)
register.filter("lasting", formats.lasting)
register.filter("on_the_wall", clock.on_the_wall)
register.simple_tag(manage)
register.simple_tag(cells.link, name="link")
register.simple_tag(cells.bar, name="bar")
register.simple_tag(cells.used_bar, name="used_bar")
register.filter("views", permissions.views)
register.simple_tag(filters.of_list, name="filters")
register.simple_tag(filters.without_search)
