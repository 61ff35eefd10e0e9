"""Settings as the environment gives them, or as the table says; a bad one ends us in one line."""

import os
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NoReturn

from vastsky_site.settings_table import BY_NAME, Setting, SettingKind

YES = {"1", "true", "yes", "on"}
NO = {"0", "false", "no", "off"}
PRODUCTION, HOME = "VASTSKY_PRODUCTION", "VASTSKY_HOME"
ROOT = Path(__file__).resolve().parent.parent


def is_set(name: str) -> bool:
    """Tell whether the environment says anything of a setting, by its name or a former one."""
    return bool(_written(BY_NAME[name]))


def set_by(name: str) -> str:
    """Name the variable that sets it, which may have its former name; "" where none does."""
    setting = BY_NAME[name]
    return next((word for word in _names(setting) if os.environ.get(word, "").strip()), "")


def text(name: str) -> str:
    """Read a setting as it is written, or its default."""
    setting = BY_NAME[name]
    return _written(setting) or _default(setting)


def flag(name: str) -> bool:
    """Read a setting that is 0 or 1."""
    word = text(_of(name, SettingKind.FLAG)).lower()
    return word in YES if word in YES | NO else refuse(name, SettingKind.FLAG)


def whole(name: str) -> int:
    """Read a number within its bounds."""
    setting = BY_NAME[_of(name, SettingKind.WHOLE)]
    try:
        value = int(text(name))
    except ValueError:
        refuse(name, SettingKind.WHOLE)
    bounds = f"from {setting.lowest} to {setting.highest}"
    return value if setting.lowest <= value <= setting.highest else refuse(name, bounds)


def words(name: str) -> list[str]:
    """Read words with commas between them."""
    return _split(text(_of(name, SettingKind.WORDS)))


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Read networks with commas between them."""
    try:
        return [ip_network(word) for word in _split(text(_of(name, SettingKind.NETWORKS)))]
    except ValueError:
        refuse(name, SettingKind.NETWORKS)


def choice(name: str, choices: Collection[str]) -> str:
    """Read one of some words."""
    word = text(name)
    return word if word in choices else refuse(name, " or ".join(choices))


def file(name: str) -> str:
    """Read the path of a file that is there to be read, or nothing."""
    path = text(_of(name, SettingKind.FILE))
    return path if not path or os.access(path, os.R_OK) else refuse(name, "a file to be read")


def refuse(name: str, wanted: str) -> NoReturn:
    """End with one line that an operator can act on, instead of a traceback."""
    setting = BY_NAME[name]
    given = next((word for word in (name, setting.former) if os.environ.get(word)), name)
    shown = "" if setting.secret else f", not {os.environ.get(given, '')!r}"
    raise SystemExit(f"vastsky: {given} must be {wanted}{shown}")


def _written(setting: Setting) -> str:
    return os.environ.get(set_by(setting.name), "").strip()


def _names(setting: Setting) -> list[str]:
    return [name for name in (setting.name, setting.former) if name]


def _default(setting: Setting) -> str:
    if setting.name == HOME:
        return str(ROOT / setting.default)
    default = setting.default_of(production=setting.name != PRODUCTION and flag(PRODUCTION))
    return default.format(home=Path(text(HOME)).absolute()) if "{home}" in default else default


def _of(name: str, kind: SettingKind) -> str:
    if BY_NAME[name].kind is not kind:
        raise TypeError(f"{name} is {BY_NAME[name].kind}, and is read as {kind}")
    return name


def _split(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]
