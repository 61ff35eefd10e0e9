"""Where the managers are and how a client proves who it is: environment, configuration, files."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from vastsky_client import manager_address
from vastsky_client.manager_address import DEFAULT_URL

KEYS = ("managers", "authority_file", "token_name", "token_file")
"""Of the configuration file, and, as VASTSKY_MANAGERS and so on, of the environment."""
READABLE_BY_OTHERS = 0o007


class BadAccess(ValueError):
    """What was configured cannot be used; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class Access:
    """Managers, tried in turn, and what is needed to be let in by them."""

    managers: tuple[str, ...] = (DEFAULT_URL,)
    authority_file: str = ""
    token_name: str = ""
    token_file: str = ""

    def addresses(self) -> list[SplitResult]:
        """Read the managers' addresses; BadAccess for one that is none."""
        return [address(url) for url in self.managers]

    def token(self) -> tuple[str, str] | None:
        """Read the token, which may be replaced at any time; None where no file is named."""
        if not self.token_file:
            return None
        path = Path(self.token_file).expanduser()
        try:
            if path.stat().st_mode & READABLE_BY_OTHERS:
                raise BadAccess(f"token_file {path} may be read by everybody: chmod 600 {path}")
            text = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as failure:
            raise BadAccess(f"token_file {path} cannot be read: {_why(failure)}") from None
        if not text or not self.token_name:
            raise BadAccess("token_file holds a token, and token_name names it")
        return self.token_name, text


def load(environment: Mapping[str, str] = os.environ, file: str = "") -> Access:
    """Read the configuration: a file, and before it what the environment says."""
    access = _from_file(environment, file or environment.get("VASTSKY_CONFIG", ""))
    urls = environment.get("VASTSKY_MANAGERS") or environment.get("VAS_URL", "")
    told: dict[str, Any] = {
        key: value for key in KEYS[1:] if (value := environment.get(f"VASTSKY_{key.upper()}"))
    }
    if urls:
        told["managers"] = tuple(re.split(r"[\s,]+", urls.strip(" ,")))
    return replace(access, **told)


def address(url: str) -> SplitResult:
    """Read a manager's address, which may do without /RPC2."""
    found = manager_address.parse(url)
    if found is None:
        text = f"{_hidden(url)!r} is no address of a manager; one looks like {DEFAULT_URL}"
        raise BadAccess(text)
    return found


def _hidden(url: str) -> str:
    """Leave a token out of what is shown."""
    return re.sub(r"//.*@", "//", url)


def _from_file(environment: Mapping[str, str], named: str) -> Access:
    home = environment.get("XDG_CONFIG_HOME") or "~/.config"
    path = Path(named or f"{home}/vastsky.toml").expanduser()
    try:
        if not named and not path.exists():
            return Access()
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as failure:
        raise BadAccess(f"{path}: {_why(failure)}") from None
    return _checked(table, path)


def _checked(table: dict[str, Any], path: Path) -> Access:
    known = {field.name for field in fields(Access)}
    for key, value in table.items():
        if key not in known:
            raise BadAccess(f"{path}: there is no {key}; there are {', '.join(KEYS)}")
        if key == "managers" and not _is_list_of_words(value):
            raise BadAccess(f"{path}: managers is a list of addresses")
        if key != "managers" and not isinstance(value, str):
            raise BadAccess(f"{path}: {key} is a text")
    return Access(**{**table, "managers": tuple(table.get("managers", (DEFAULT_URL,)))})


def _is_list_of_words(value: object) -> bool:
    words = isinstance(value, Sequence) and not isinstance(value, str) and bool(value)
    return words and all(isinstance(word, str) for word in value)  # type: ignore[attr-defined]


def _why(failure: Exception) -> str:
    return getattr(failure, "strerror", None) or str(failure)
