"""The page of settings: each with value, unit, default, what it does, and who set it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from django.http import HttpRequest, HttpResponse

from vastsky_site import environment
from vastsky_site.settings_reference import kind_of
from vastsky_site.settings_table import SETTINGS, Setting, Subject
from volumes.console.frame.page import page, viewing
from volumes.console.frame.pills import BUSY, IDLE, Pill

HIDDEN = "set, and shown to nobody"
DEFAULT = Pill("default", IDLE, "nothing is set")


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """A setting as this process reads it. A secret has no value here, only whether there is one."""

    setting: Setting
    value: str
    default: str
    kind: str
    set_by: str

    @property
    def pill(self) -> Pill:
        """Say who set it."""
        if not self.set_by:
            return DEFAULT
        former = f" as {self.set_by}" if self.set_by != self.setting.name else ""
        return Pill(f"environment{former}", BUSY, "set by the environment")


@viewing
def show(request: HttpRequest) -> HttpResponse:
    """Show all settings; the environment rules them, so that nothing is changed here."""
    only_set = request.GET.get("only") == "set"
    rows = [one for one in shown() if one.set_by or not only_set]
    subjects = [(name, list(some)) for name, some in groupby(rows, key=_subject)]
    return page(
        request,
        "site/settings.html",
        "Settings",
        subjects=subjects,
        only_set=only_set,
        set_count=sum(bool(one.set_by) for one in shown()),
    )


def shown() -> Iterator[ShownSetting]:
    """Give every setting, in the order of the table, as it may be shown."""
    production = environment.flag(environment.PRODUCTION)
    for setting in SETTINGS:
        set_by = environment.set_by(setting.name)
        value = environment.text(setting.name)
        if setting.secret:
            value = HIDDEN if set_by else ""
        default = setting.default_of(production=production)
        yield ShownSetting(setting, value, default, kind_of(setting), set_by)


def _subject(one: ShownSetting) -> Subject:
    return one.setting.subject
