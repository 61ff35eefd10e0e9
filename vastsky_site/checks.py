"""System checks of our own: each has an id that stays, by which docs/health.md has it."""

from typing import Any

from django.conf import settings
from django.core import checks

from inventory.command_line import manage
from vastsky_site.access import authorization
from vastsky_site.api import endpoint

SQLITE = "vastsky_site.sqlite"
LIMITED = ("REBUILDS", "SHREDS", "SCRUBS")


@checks.register()
def check_database(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """SQLite serves one web process."""
    processes = settings.VASTSKY_WEB_PROCESSES
    if settings.DATABASES["default"]["ENGINE"] != SQLITE or processes == 1:
        return []
    return [
        checks.Error(
            f"SQLite with {processes} web processes: writers would wait seconds for each other.",
            hint="Start one process with several threads, or set DATABASE_URL to PostgreSQL.",
            id="vastsky.E001",
        )
    ]


@checks.register()
def check_deadlines(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """A silent server is first suspected, then OFFLINE; nodes answer before they are asked anew."""
    problems: list[checks.CheckMessage] = []
    if settings.VASTSKY_SUSPECT_SECONDS >= settings.VASTSKY_OFFLINE_SECONDS:
        text = "VASTSKY_SUSPECT_SECONDS must be less than VASTSKY_OFFLINE_SECONDS."
        hint = "Lower the first or raise the second; leave both out for the defaults."
        problems.append(checks.Error(text, hint=hint, id="vastsky.E002"))
    if settings.VASTSKY_AGENT_TIMEOUT > settings.VASTSKY_RECONCILE_SECONDS:
        text = "VASTSKY_AGENT_TIMEOUT is longer than VASTSKY_RECONCILE_SECONDS: they overlap."
        hint = "Lower the first to the second, or raise the second."
        problems.append(checks.Warning(text, hint=hint, id="vastsky.W004"))
    longest = endpoint.LONGEST_CALL
    if longest < settings.VASTSKY_ATTACH_SECONDS:
        text = f"VASTSKY_ATTACH_SECONDS counts as {longest} at most: old clients hang up at 300."
        hint = f"Set it to {longest} or less."
        problems.append(checks.Warning(text, hint=hint, id="vastsky.W009"))
    return problems


@checks.register()
def check_limits(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """A limit holds the narrower ones."""
    problems: list[checks.CheckMessage] = []
    for what in LIMITED:
        names = [f"VASTSKY_{what}_{scope}" for scope in ("PER_DISK", "PER_SERVER", "TOTAL")]
        numbers = [getattr(settings, name) for name in names]
        if numbers != sorted(numbers):
            text = f"{' <= '.join(names)} must hold: they are {', '.join(map(str, numbers))}."
            hint = "Raise the one that is too low, or lower those before it."
            problems.append(checks.Error(text, hint=hint, id="vastsky.E003"))
    return problems


@checks.register()
def check_ports(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """A machine may be a head and a storage server at once."""
    if settings.VASTSKY_HEAD_AGENT_PORT != settings.VASTSKY_STORAGE_AGENT_PORT:
        return []
    text = "VASTSKY_HEAD_AGENT_PORT and VASTSKY_STORAGE_AGENT_PORT must differ."
    hint = "Give one of them another port, and say it in the settings of all agents of that kind."
    return [checks.Error(text, hint=hint, id="vastsky.E005")]


@checks.register()
def check_identity(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """The manager's certificate, its key and the authority can be read and belong together."""
    if settings.VASTSKY_IDENTITY is None:
        return []
    try:
        settings.VASTSKY_IDENTITY.calling()
    except OSError as error:
        text = f"VASTSKY_TLS_CERTIFICATE, _KEY or _AUTHORITY cannot be used: {error}."
        hint = f"Let this user read the three files; `{manage('certificate')}` makes ones that fit."
        return [checks.Error(text, hint=hint, id="vastsky.E008")]
    return []


@checks.register()
def check_roles(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """Every method of the API says which roles have it; one that does not is open to nobody."""
    unsaid = sorted(set(endpoint.server.procedures) ^ set(authorization.METHODS))
    text = "vastsky_site.access.authorization.METHODS and the API differ in: {}."
    hint = "The installation is incomplete, or of two releases: install it again."
    error = checks.Error(text.format(", ".join(unsaid)), hint=hint, id="vastsky.E006")
    return [error] if unsaid else []


@checks.register(checks.Tags.security, deploy=True)
def check_trust(*_: Any, **__: Any) -> list[checks.CheckMessage]:
    """In production every program has a token."""
    if not settings.VASTSKY_RPC_TRUSTED_NETWORKS:
        return []
    text = "VASTSKY_RPC_TRUSTED_NETWORKS lets every program at these addresses be admin."
    hint = f"Leave it out, and give each program a token: `{manage('token create NAME')}`."
    return [checks.Warning(text, hint=hint, id="vastsky.W007")]
