"""What is made of the table of settings: docs/settings.md, and the environment file of a package.

`.venv/bin/python -m vastsky_site.settings_reference docs/settings.md` writes the page.
"""

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from agents.xmlrpc import INT_MAX
from vastsky_site import node_settings
from vastsky_site.settings_table import SETTINGS, Setting, SettingKind, Subject

WIDTH = 100
PAGE = """\
# Settings

Made of the code: `.venv/bin/python -m vastsky_site.settings_reference docs/settings.md` writes this
page, and what is here is what is read.

## The manager

Each setting is a variable of the environment; the package reads them from
`/etc/vastsky/manager.env`. They are read at the start of each process: restart web, worker and
beat after a change. A value that cannot be used ends the start with one line that names it.
`{home}` is the value of `VASTSKY_HOME`.
"""
NODES = """\
## The nodes

An agent reads `/etc/vastsky/head.toml` or `storage.toml`, which `vastsky-node join` writes
([join](join.md)): `name = value` in TOML. Restart the agent after a change; what it serves goes on.
A storage agent takes in further disks when it is reloaded. Keys without a default have to be there,
or belong together with others that are not.
"""
FILE = """\
# The settings of this VastSky manager, read by its units and by vastsky-manage.
# NAME=value, one a line, without quotes; a line with # says the default. After a change:
# systemctl restart vastsky-web vastsky-worker vastsky-beat
"""
IN_A_PACKAGE = {
    "VASTSKY_HOME": "/var/lib/vastsky/manager",
    "VASTSKY_PRODUCTION": "1",
    "VASTSKY_SECRET_KEY": "@SECRET_KEY@",
    "DATABASE_URL": "postgresql:///vastsky?host=/run/postgresql",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "VASTSKY_ALLOWED_HOSTS": "@HOST@",
    "VASTSKY_WEB_ADDRESS": "0.0.0.0",  # noqa: S104  nodes come from other machines
    "VASTSKY_WEB_TLS": "1",
    **{
        f"VASTSKY_TLS_{what}": f"/var/lib/vastsky/manager/tls/{name}"
        for what, name in (
            ("CERTIFICATE", "manager.pem"),
            ("KEY", "manager.key"),
            ("AUTHORITY", "authority.pem"),
        )
    },
}
"""What the package sets; @...@ is filled in when it is installed."""


def page() -> str:
    """Write docs/settings.md."""
    parts = [PAGE]
    for subject in Subject:
        parts += [f"### {subject}\n", *map(_section, _of(subject))]
    parts.append(NODES)
    parts += [_table(kind) for kind in node_settings.MEANINGS]
    return "\n".join(parts)


def _table(kind: str) -> str:
    lines = [f"### {kind}\n", "| key | kind | default | meaning |", "| --- | --- | --- | --- |"]
    for name, default, meaning in node_settings.rows(kind):
        read = node_settings.kind_of(kind, name)
        lines.append(f"| `{name}` | {read} | {f'`{default}`' if default else '-'} | {meaning} |")
    return "\n".join(lines) + "\n"


def environment_file(given: dict[str, str]) -> str:
    """Write an environment file with every setting, its meaning, and what is given of values."""
    parts = [FILE]
    for subject in Subject:
        parts.append(f"# ---- {subject} ".ljust(WIDTH, "-") + "\n")
        parts += [_entry(setting, given) for setting in _of(subject)]
    return "\n".join(parts)


def facts(setting: Setting) -> list[str]:
    """Say a setting's kind, unit, bounds and defaults, each in a few words."""
    found = [kind_of(setting)]
    default, production = (setting.default_of(production=flag) for flag in (False, True))
    found.append(f"default `{default}`" if default else "not set by default")
    if production != default:
        found.append(f"in production `{production}`" if production else "not set in production")
    if setting.former:
        found.append(f"formerly `{setting.former}`, which is still read")
    return found


def _of(subject: Subject) -> Iterable[Setting]:
    return (setting for setting in SETTINGS if setting.subject is subject)


def _section(setting: Setting) -> str:
    told = "; ".join(facts(setting))
    return f"#### `{setting.name}`\n\n{_wrap(told[0].upper() + told[1:] + '.')}\n\n" + (
        _wrap(setting.meaning) + "\n"
    )


def kind_of(setting: Setting) -> str:
    """Say how a setting is read, with its unit and bounds."""
    if setting.kind is not SettingKind.WHOLE:
        return setting.kind
    bounds = f"{setting.lowest} or more"
    if setting.highest != INT_MAX:
        bounds = f"{setting.lowest} to {setting.highest}"
    return f"{setting.unit or setting.kind}, {bounds}"


def _entry(setting: Setting, given: dict[str, str]) -> str:
    told = "; ".join(facts(setting)).replace("`", "")
    lines = [*textwrap.wrap(setting.meaning, WIDTH - 2), *textwrap.wrap(f"({told})", WIDTH - 2)]
    value = given.get(setting.name)
    line = f"{setting.name}={setting.default_of(production=True) if value is None else value}"
    return "".join(f"# {text}\n" for text in lines) + ("#" if value is None else "") + line + "\n"


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
