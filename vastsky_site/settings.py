"""All settings of the site, as `settings_table` lists them: from the environment, or a default."""

import os
import secrets
import tempfile
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import django_stubs_ext

from agents import log_lines
from agents.identity import Identity
from agents.version import VERSION
from vastsky_site import environment
from vastsky_site.pages import theme
from vastsky_site.private import keep_private

django_stubs_ext.monkeypatch()


# -- what is made of the environment --------------------------------------------------------------


def _home() -> Path:
    home = Path(environment.text("VASTSKY_HOME")).absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        environment.refuse("VASTSKY_HOME", f"a folder that can be made ({error.strerror})")
    keep_private(home)
    return home


def _secret_key(home: Path, *, production: bool) -> str:
    """Take the key from the environment; outside production, make one once and keep it."""
    if key := environment.text("VASTSKY_SECRET_KEY"):
        return key
    if production:
        environment.refuse("VASTSKY_SECRET_KEY", "set in production (50 random characters or more)")
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
    paths = [Path(environment.text(name)).absolute() for name in names if environment.text(name)]
    if len(paths) not in (0, len(names)):
        missing = next(name for name in names if not environment.text(name))
        environment.refuse(missing, "set where the other two are")
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
    wanted = "sqlite:///FILE or postgres://USER:PASSWORD@HOST:PORT/NAME"
    return environment.refuse("DATABASE_URL", wanted)


# -- where and how --------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
VASTSKY_RELEASE = VERSION
VASTSKY_HOME = _home()
VASTSKY_PRODUCTION = environment.flag("VASTSKY_PRODUCTION")
DEBUG = environment.flag("VASTSKY_DEBUG")
SECRET_KEY = _secret_key(VASTSKY_HOME, production=VASTSKY_PRODUCTION)
ALLOWED_HOSTS = environment.words("VASTSKY_ALLOWED_HOSTS")
DATABASES = {"default": _database(environment.text("DATABASE_URL"))}
REDIS_URL = CELERY_BROKER_URL = environment.text("REDIS_URL")
VASTSKY_WEB_ADDRESS = environment.text("VASTSKY_WEB_ADDRESS")
VASTSKY_WEB_PORT = environment.whole("VASTSKY_WEB_PORT")
VASTSKY_WEB_TLS = environment.flag("VASTSKY_WEB_TLS")
VASTSKY_WEB_PROCESSES = environment.whole("VASTSKY_WEB_PROCESSES")

# -- nodes ----------------------------------------------------------------------------------------

VASTSKY_HEAD_AGENT_PORT = environment.whole("VASTSKY_HEAD_AGENT_PORT")
VASTSKY_STORAGE_AGENT_PORT = environment.whole("VASTSKY_STORAGE_AGENT_PORT")
VASTSKY_IDENTITY = _identity()
VASTSKY_MANAGER_URLS = environment.words("VASTSKY_MANAGER_URLS")
VASTSKY_AGENT_TIMEOUT = environment.whole("VASTSKY_AGENT_TIMEOUT")
VASTSKY_RECONCILE_SECONDS = environment.whole("VASTSKY_RECONCILE_SECONDS")
VASTSKY_BACKUP_FOLDER = environment.text("VASTSKY_BACKUP_FOLDER")
VASTSKY_BACKUPS_KEPT = environment.whole("VASTSKY_BACKUPS_KEPT")
VASTSKY_SWEEP_GRACE_SECONDS = environment.whole("VASTSKY_SWEEP_GRACE_SECONDS")
VASTSKY_SUSPECT_SECONDS = environment.whole("VASTSKY_SUSPECT_SECONDS")
VASTSKY_OFFLINE_SECONDS = environment.whole("VASTSKY_OFFLINE_SECONDS")
VASTSKY_GRACE_SECONDS = environment.whole("VASTSKY_GRACE_SECONDS")
VASTSKY_BRAKE_PERCENT = environment.whole("VASTSKY_BRAKE_PERCENT")

VASTSKY_REBUILDS_PER_DISK = environment.whole("VASTSKY_REBUILDS_PER_DISK")
VASTSKY_REBUILDS_PER_SERVER = environment.whole("VASTSKY_REBUILDS_PER_SERVER")
VASTSKY_REBUILDS_TOTAL = environment.whole("VASTSKY_REBUILDS_TOTAL")
VASTSKY_SHREDS_PER_DISK = environment.whole("VASTSKY_SHREDS_PER_DISK")
VASTSKY_SHREDS_PER_SERVER = environment.whole("VASTSKY_SHREDS_PER_SERVER")
VASTSKY_SHREDS_TOTAL = environment.whole("VASTSKY_SHREDS_TOTAL")
VASTSKY_SCRUB_DAYS = environment.whole("VASTSKY_SCRUB_DAYS")
VASTSKY_SCRUBS_PER_DISK = environment.whole("VASTSKY_SCRUBS_PER_DISK")
VASTSKY_SCRUBS_PER_SERVER = environment.whole("VASTSKY_SCRUBS_PER_SERVER")
VASTSKY_SCRUBS_TOTAL = environment.whole("VASTSKY_SCRUBS_TOTAL")
VASTSKY_KEEP_JOBS_DAYS = environment.whole("VASTSKY_KEEP_JOBS_DAYS")
VASTSKY_KEEP_EVENTS_DAYS = environment.whole("VASTSKY_KEEP_EVENTS_DAYS")
VASTSKY_KEEP_EVENTS = environment.whole("VASTSKY_KEEP_EVENTS")
VASTSKY_WEBHOOK_AUTHORITY = environment.file("VASTSKY_WEBHOOK_AUTHORITY")
VASTSKY_ATTACH_SECONDS = environment.whole("VASTSKY_ATTACH_SECONDS")
VASTSKY_WAITING_CALLS = environment.whole("VASTSKY_WAITING_CALLS")

VASTSKY_RPC_TRUSTED_NETWORKS = environment.networks("VASTSKY_RPC_TRUSTED_NETWORKS")

# -- metrics --------------------------------------------------------------------------------------

VASTSKY_METRICS_NETWORKS = environment.networks("VASTSKY_METRICS_NETWORKS")
VASTSKY_METRICS_VOLUMES = environment.whole("VASTSKY_METRICS_VOLUMES")

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
# A proxy that ends TLS says so in a header, which anybody could send: trusted only where a person
# says that a proxy stands there and sets it (Django: SECURE_PROXY_SSL_HEADER).
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if environment.flag("VASTSKY_BEHIND_TLS_PROXY") else None
)
# Neither the other names of the operator's domain nor browsers' preload lists are ours to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# Content-Security-Policy: access.middleware. The lockout of the login: access.login.

# -- logs -----------------------------------------------------------------------------------------

VASTSKY_LOG_FORMAT = environment.choice("VASTSKY_LOG_FORMAT", log_lines.FORMS)
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
        # It tells of every tick, each second.
        "celery": {"level": "WARNING"},
    },
}
