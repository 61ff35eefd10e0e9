"""Numbers, times, links and bars in templates."""

from django import template

from inventory import clock
from volumes.console.frame import cells, formats, permissions
from volumes.console.lists import filters

register = template.Library()

register.filter("size", formats.size)
register.filter("span", formats.span)
register.filter("clock", formats.clock)
register.filter("named_first", formats.named_first)
register.filter("since", formats.since)
register.filter("lasting", formats.lasting)
register.filter("on_the_wall", clock.on_the_wall)
register.simple_tag(cells.link, name="link")
register.simple_tag(cells.bar, name="bar")
register.simple_tag(cells.used_bar, name="used_bar")
register.filter("views", permissions.views)
register.simple_tag(filters.of_list, name="filters")
register.simple_tag(filters.without_search)
