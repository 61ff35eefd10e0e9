"""All settings of the site; each comes from the environment or has a default that works here."""

import os
import secrets
import tempfile
import zlib
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

import django_stubs_ext

from agents import log_lines
from agents.identity import Identity
from agents.version import VERSION
from vastsky_site.pages import theme
from vastsky_site.private import keep_private

django_stubs_ext.monkeypatch()


# -- reading the environment ----------------------------------------------------------------------


def _refuse(name: str, wanted: str) -> NoReturn:
    """End with one line that an operator can act on, instead of a traceback."""
    raise SystemExit(f"vastsky: {name} must be {wanted}, not {os.environ.get(name, '')!r}")


def _text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def _flag(name: str) -> bool:
    value = _text(name, "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    return False if value in {"0", "false", "no", "off"} else _refuse(name, "0 or 1")


def _choice(name: str, *choices: str) -> str:
    """Read one of some words; the first one where nothing is said."""
    word = _text(name, choices[0])
    return word if word in choices else _refuse(name, " or ".join(choices))


def _whole(name: str, default: int, lowest: int = 1, highest: int = 0x7FFFFFFF) -> int:
    try:
        value = int(_text(name, str(default)))
    except ValueError:
        _refuse(name, "a whole number")
    return value if lowest <= value <= highest else _refuse(name, f"from {lowest} to {highest}")


def _words(name: str, default: str) -> list[str]:
    return [word.strip() for word in _text(name, default).split(",") if word.strip()]


def _networks(name: str, default: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(word) for word in _words(name, default)]
    except ValueError:
        _refuse(name, "networks such as 127.0.0.0/8,::1")


def _file(name: str) -> str:
    path = _text(name)
    return path if not path or os.access(path, os.R_OK) else _refuse(name, "a file to be read")


def _home(default: Path) -> Path:
    home = Path(_text("VASTSKY_HOME", str(default))).absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _refuse("VASTSKY_HOME", f"a folder that can be made ({error.strerror})")
    keep_private(home)
    return home


def _secret_key(home: Path, *, production: bool) -> str:
    """Take the key from the environment; outside production, make one once and keep it."""
    if key := _text("VASTSKY_SECRET_KEY"):
        return key
    if production:
        _refuse("VASTSKY_SECRET_KEY", "set in production (50 random characters or more)")
    kept = home / "secret_key"
    if not kept.exists():
        # Linked into place whole: web, worker and beat may all be starting at this moment.
        draft = home / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(64))
        try:
            kept.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return kept.read_text()


def _identity() -> Identity | None:
    """Read with which files the manager proves to nodes who it is; all three, or none."""
    names = [f"VASTSKY_TLS_{what}" for what in ("CERTIFICATE", "KEY", "AUTHORITY")]
    paths = [Path(_text(name)).absolute() for name in names if _text(name)]
    if len(paths) not in (0, len(names)):
        _refuse(next(name for name in names if not _text(name)), "set where the other two are")
    return Identity(*paths) if paths else None


SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL;"
    # An acknowledged order to a node must not be forgotten at a power cut.
    "PRAGMA synchronous=FULL;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA mmap_size=134217728;"
    "PRAGMA journal_size_limit=27103364;"
    "PRAGMA cache_size=-20000;"
    "PRAGMA temp_store=MEMORY;"
)


def _database(url: str) -> dict[str, Any]:
    """Read sqlite:///relative, sqlite:////absolute or postgres://user:password@host:port/name."""
    parts = urlsplit(url)
    # Named after the process: two test runs may go on side by side.
    test = f"vastsky_test_{os.getpid()}"
    if parts.scheme == "sqlite" and len(parts.path) > 1:
        return {
            "ENGINE": "vastsky_site.sqlite",
            "NAME": unquote(parts.path[1:]),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": SQLITE_PRAGMAS,
            },
            "CONN_MAX_AGE": None,
            # A file, because an in-memory database cannot have the concurrent writers of real life.
            "TEST": {"NAME": Path(tempfile.gettempdir()) / f"{test}.sqlite3"},
        }
    if parts.scheme in {"postgres", "postgresql"} and len(parts.path) > 1:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path[1:]),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(parts.port or ""),
            "OPTIONS": dict(parse_qsl(parts.query)),
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "TEST": {"NAME": test},
        }
    return _refuse("DATABASE_URL", "sqlite:///FILE or postgres://USER:PASSWORD@HOST:PORT/NAME")


# -- where and how --------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
VASTSKY_RELEASE = VERSION
VASTSKY_HOME = _home(BASE_DIR / "var")
VASTSKY_PRODUCTION = _flag("VASTSKY_PRODUCTION")
DEBUG = _flag("VASTSKY_DEBUG")
SECRET_KEY = _secret_key(VASTSKY_HOME, production=VASTSKY_PRODUCTION)
ALLOWED_HOSTS = _words(
    "VASTSKY_ALLOWED_HOSTS", "" if VASTSKY_PRODUCTION else "localhost,127.0.0.1,[::1]"
)
DATABASES = {
    "default": _database(_text("DATABASE_URL", f"sqlite:///{VASTSKY_HOME}/vastsky.sqlite3"))
}
REDIS_URL = CELERY_BROKER_URL = _text("REDIS_URL", f"redis+socket://{VASTSKY_HOME}/run/redis.sock")

# How many processes serve this site, where another WSGI server than ours does: our own is one.
VASTSKY_WEB_PROCESSES = _whole("VASTSKY_WEB_PROCESSES", _whole("GRANIAN_WORKERS", 1))

# -- nodes ----------------------------------------------------------------------------------------

VASTSKY_HEAD_AGENT_PORT = _whole("VASTSKY_HEAD_AGENT_PORT", 8882, highest=65535)
VASTSKY_STORAGE_AGENT_PORT = _whole("VASTSKY_STORAGE_AGENT_PORT", 8883, highest=65535)
VASTSKY_IDENTITY = _identity()
"""Without it only agents on this machine obey (docs/access.md)."""
VASTSKY_MANAGER_URLS = _words("VASTSKY_MANAGER_URLS", "")
"""Where nodes reach the managers, as https://10.1.0.1:8881: what a join string says."""
VASTSKY_AGENT_TIMEOUT = _whole("VASTSKY_AGENT_TIMEOUT", 2)
"""Seconds that a node has to answer reconcile's question."""
VASTSKY_RECONCILE_SECONDS = _whole("VASTSKY_RECONCILE_SECONDS", _whole("VASTSKY_SWEEP_SECONDS", 5))
# Backups: one a day, so many are kept (0: none is written); older than 26 h is a problem.
VASTSKY_BACKUP_FOLDER = _text("VASTSKY_BACKUP_FOLDER", str(VASTSKY_HOME / "backups"))
VASTSKY_BACKUPS_KEPT = _whole("VASTSKY_BACKUPS_KEPT", 7, lowest=0)
# After a worker's start nothing on nodes is taken down for so long.
VASTSKY_SWEEP_GRACE_SECONDS = _whole("VASTSKY_SWEEP_GRACE_SECONDS", 15, lowest=0)
VASTSKY_SUSPECT_SECONDS = _whole("VASTSKY_SUSPECT_SECONDS", 6)
"""A server that was silent for so long is shown as suspected."""
VASTSKY_OFFLINE_SECONDS = _whole("VASTSKY_OFFLINE_SECONDS", 20)
"""A server that was silent for so long is OFFLINE and its replicas are out."""
VASTSKY_GRACE_SECONDS = _whole("VASTSKY_GRACE_SECONDS", 600, lowest=0)
"""A replica that is out for so long is replaced on another server."""
VASTSKY_BRAKE_PERCENT = _whole("VASTSKY_BRAKE_PERCENT", 30, highest=100)
"""More servers of a kind gone together than this: nothing is replaced without a person."""

VASTSKY_REBUILDS_PER_DISK = _whole("VASTSKY_REBUILDS_PER_DISK", 1)
VASTSKY_REBUILDS_PER_SERVER = _whole("VASTSKY_REBUILDS_PER_SERVER", 2)
VASTSKY_REBUILDS_TOTAL = _whole("VASTSKY_REBUILDS_TOTAL", 16)
VASTSKY_SHREDS_PER_DISK = _whole("VASTSKY_SHREDS_PER_DISK", 1)
VASTSKY_SHREDS_PER_SERVER = _whole("VASTSKY_SHREDS_PER_SERVER", 4)
VASTSKY_SHREDS_TOTAL = _whole("VASTSKY_SHREDS_TOTAL", 64)
VASTSKY_SCRUB_DAYS = _whole("VASTSKY_SCRUB_DAYS", 30, lowest=0)
"""The replicas of every mirror are compared within so many days; 0: only when somebody asks."""
VASTSKY_SCRUBS_PER_DISK = _whole("VASTSKY_SCRUBS_PER_DISK", 1)
VASTSKY_SCRUBS_PER_SERVER = _whole("VASTSKY_SCRUBS_PER_SERVER", 2)
VASTSKY_SCRUBS_TOTAL = _whole("VASTSKY_SCRUBS_TOTAL", 8)
VASTSKY_KEEP_JOBS_DAYS = _whole("VASTSKY_KEEP_JOBS_DAYS", 90)
"""Finished jobs, with their stories, are forgotten after so long; the audit log is kept."""
VASTSKY_KEEP_EVENTS_DAYS = _whole("VASTSKY_KEEP_EVENTS_DAYS", 90)
"""Events are forgotten after so long (docs/events.md)."""
VASTSKY_KEEP_EVENTS = _whole("VASTSKY_KEEP_EVENTS", 500_000)
"""So many events are kept at most, the latest."""
VASTSKY_WEBHOOK_AUTHORITY = _file("VASTSKY_WEBHOOK_AUTHORITY")
"""A file of an authority of your own that the certificates of webhooks' receivers may be of."""
VASTSKY_ATTACH_SECONDS = _whole("VASTSKY_ATTACH_SECONDS", 270)
"""Within so long every call is answered: old clients hang up after 300 s."""
VASTSKY_WAITING_CALLS = _whole("VASTSKY_WAITING_CALLS", 48)
"""Callers of attach, detach or createSnapshot that take the steps of their jobs at once."""

VASTSKY_RPC_TRUSTED_NETWORKS = _networks(
    "VASTSKY_RPC_TRUSTED_NETWORKS", "" if VASTSKY_PRODUCTION else "127.0.0.0/8,::1"
)
"""Programs at these addresses call the API without a token, as admin; never through a proxy."""

# -- metrics --------------------------------------------------------------------------------------

VASTSKY_METRICS_NETWORKS = _networks("VASTSKY_METRICS_NETWORKS", "")
"""Programs at these addresses read /metrics without a token; never through a proxy."""
VASTSKY_METRICS_VOLUMES = _whole("VASTSKY_METRICS_VOLUMES", 0, lowest=0, highest=20_000)
"""So many volumes are told one by one, the oldest first; each is three more samples."""

# -- the site -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "inventory",
    "volumes",
    "vastsky_site",
]
MIDDLEWARE = [
    "vastsky_site.request_ids.name_requests",
    "vastsky_site.api.endpoint.rpc_first",
    "vastsky_site.health.health_first",
    "vastsky_site.metrics.metrics_first",
    "vastsky_site.join_door.join_first",
    "django.middleware.security.SecurityMiddleware",
    "vastsky_site.access.middleware.restrict_browser",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "vastsky_site.access.middleware.act_as_person",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "vastsky_site.urls"
WSGI_APPLICATION = "vastsky_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# The methods at /RPC2 (vastsky_site.api.endpoint) are read and written strictly.
MODERNRPC_XML_DESERIALIZER = {"class": "vastsky_site.api.xml.StrictDeserializer"}
MODERNRPC_XML_SERIALIZER = {"class": "vastsky_site.api.xml.StrictSerializer"}
UNFOLD = theme.UNFOLD
LOGIN_REDIRECT_URL = "admin:index"

# A wire id is a signed 32-bit integer, and so is every key.
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

STATIC_URL = "/static/"
# Served from where the packages have them: nothing to collect, nothing from other hosts.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator")
]

# -- security -------------------------------------------------------------------------------------

# A cookie knows no port: two clusters on one machine must not log each other out.
_cluster_here = f"{zlib.crc32(str(VASTSKY_HOME).encode()):08x}"
SESSION_COOKIE_NAME = f"vastsky_session_{_cluster_here}"
CSRF_COOKIE_NAME = f"vastsky_csrf_{_cluster_here}"
# Strict: nothing here is meant to be reached, signed in, from a link on another site.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600
"""A working day; then a person signs in again, however busy they were."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = VASTSKY_PRODUCTION
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if VASTSKY_PRODUCTION else 0
# A proxy that ends TLS says so in a header, which anybody could send: believed only where a person
# says that a proxy stands there and sets it (Django: SECURE_PROXY_SSL_HEADER).
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if _flag("VASTSKY_BEHIND_TLS_PROXY") else None
)
# Neither the other names of the operator's domain nor browsers' preload lists are ours to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# Content-Security-Policy: access.middleware. The lockout of the login: access.login.

# -- logs -----------------------------------------------------------------------------------------

VASTSKY_LOG_FORMAT = _choice("VASTSKY_LOG_FORMAT", *log_lines.FORMS)
"""Log lines are text for people, or JSON for programs (docs/logs.md)."""
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": log_lines.FORMS[VASTSKY_LOG_FORMAT]}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        # A wrong path or Host is the asker's mistake, not news.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
