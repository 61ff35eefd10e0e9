"""Numbers in addresses that are larger than any id, or than a database takes."""

import pytest
from django.contrib import admin
from django.test import Client

from volumes.admin import LISTS
from volumes.console.verbs.run import VERBS

BEYOND = ["2147483648", "9" * 20, "9" * 5000]
"""More than a column of PostgreSQL holds, than SQLite does, and than Python reads."""
OWN_PAGES = [
    "servers/{}/disks/",
    "servers/{}/live/",
    "heads/{}/live/",
    "disks/{}/map/",
    "disks/{}/live/",
    "volumes/{}/live/",
    "jobs/{}/live/",
]

pytestmark = pytest.mark.parametrize("number", BEYOND, ids=lambda text: f"{len(text)} digits")


def test_pages_of_the_console_are_not_there(well: None, console: Client, number: str) -> None:
    actions = [f"do/{verb}/?on={{}}" for verb in VERBS]

    for place in [*OWN_PAGES, *actions]:
        address = "/admin/console/" + place.format(number)
        assert console.get(address).status_code == 404, address


def test_rows_of_lists_are_not_there(well: None, console: Client, number: str) -> None:
    for model in LISTS:
        place = f"/admin/{model._meta.app_label}/{model._meta.model_name}/{number}/"
        assert console.get(place + "change/").status_code == 404, place
        assert console.get(place + "history/", follow=True).status_code == 200, place
        assert console.get(place + "delete/").status_code in {302, 403, 404}, place


def test_lists_filtered_by_them_are_shown(well: None, console: Client, number: str) -> None:
    for model in admin.site._registry:
        place = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for wanted in ("pk", "head", "server", "groups", "q", "p", "replicas"):
            shown = console.get(place, {wanted: number}, follow=True)
            assert shown.status_code in {200, 400}, f"{place}?{wanted}"
