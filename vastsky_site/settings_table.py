"""The manager's settings as data: name, kind, default, unit, bounds, and what each one means.

`environment` reads by this table, docs/settings.md is made of it, the console shows it.
"""

from dataclasses import dataclass
from enum import StrEnum

from agents.xmlrpc import INT_MAX


class SettingKind(StrEnum):
    """How the text of a setting is read."""

    TEXT = "text"
    FLAG = "0 or 1"
    WHOLE = "a whole number"
    WORDS = "words, with commas between them"
    NETWORKS = "networks such as 127.0.0.0/8,::1"
    FILE = "a file"
    FOLDER = "a folder"
    LOG_FORMAT = "`text` or `json`"


class Subject(StrEnum):
    """The headings under which settings are told, in their order."""

    SITE = "The site"
    ACCESS = "Access"
    NODES = "Nodes"
    FAILURES = "Failures"
    WORK = "Work at once"
    SCRUB = "Scrub"
    KEPT = "What is kept"
    SEEN = "Metrics, logs and webhooks"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its default is written as it would be in the environment.

    In a default, {home} is the value of VASTSKY_HOME.
    """

    subject: Subject
    name: str
    kind: SettingKind
    default: str
    meaning: str
    unit: str = ""
    lowest: int = 1
    highest: int = INT_MAX
    in_production: str | None = None
    """The default where VASTSKY_PRODUCTION is 1, if that is another one."""
    secret: bool = False
    """Shown to nobody."""
    former: str = ""
    """An older name that is still read where the name itself is not set."""

    def default_of(self, *, production: bool) -> str:
        """Say what holds where nothing is set."""
        if production and self.in_production is not None:
            return self.in_production
        return self.default


SETTINGS = (
    # -- the site ---------------------------------------------------------------------------------
    Setting(
        Subject.SITE,
        "VASTSKY_HOME",
        SettingKind.FOLDER,
        "var",
        "The manager's own folder: backups, authority and certificates, and, where they are not set"
        " otherwise, database and broker. It is closed to other users. By default it is in the"
        " checkout.",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_PRODUCTION",
        SettingKind.FLAG,
        "0",
        "1: nothing is trusted for its address, cookies need HTTPS, plain HTTP is sent on to HTTPS,"
        " and the secret key must be set.",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_DEBUG",
        SettingKind.FLAG,
        "0",
        "1: errors are shown with their traces. For development alone.",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_SECRET_KEY",
        SettingKind.TEXT,
        "",
        "What sessions and tokens are signed with: 50 random characters or more, the same on all"
        " managers of a cluster. Outside production one is made once and kept in VASTSKY_HOME."
        " Another key ends all sessions and makes every token void.",
        secret=True,
    ),
    Setting(
        Subject.SITE,
        "DATABASE_URL",
        SettingKind.TEXT,
        "sqlite:///{home}/vastsky.sqlite3",
        "postgresql://USER:PASSWORD@HOST:PORT/NAME, with ?sslmode=verify-full and other options of"
        " libpq; or sqlite:////FILE, for one manager.",
        secret=True,
    ),
    Setting(
        Subject.SITE,
        "REDIS_URL",
        SettingKind.TEXT,
        "redis+socket://{home}/run/redis.sock",
        "The broker: redis://:PASSWORD@HOST:6379/0, rediss:// over TLS, redis+socket:///FILE. It"
        " carries hints alone and may lose them.",
        secret=True,
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_ALLOWED_HOSTS",
        SettingKind.WORDS,
        "localhost,127.0.0.1,[::1]",
        "The names and addresses by which people and programs reach the manager; `.example.org`"
        " allows every name below it. Any other name is answered with status 400.",
        in_production="",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_BEHIND_TLS_PROXY",
        SettingKind.FLAG,
        "0",
        "1: a proxy ends TLS and always sets X-Forwarded-Proto itself. Without such a proxy anybody"
        " could claim to have come by HTTPS.",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_WEB_ADDRESS",
        SettingKind.TEXT,
        "127.0.0.1",
        "The address at which the web server listens; 0.0.0.0: all of this machine's.",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_WEB_PORT",
        SettingKind.WHOLE,
        "8881",
        "The port at which the web server listens.",
        highest=65535,
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_WEB_TLS",
        SettingKind.FLAG,
        "0",
        "1: the web server speaks TLS 1.3, with VASTSKY_TLS_CERTIFICATE: nodes can join then. 0"
        " where a proxy on the same machine ends TLS.",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_WEB_PROCESSES",
        SettingKind.WHOLE,
        "1",
        "How many processes serve the site, where another WSGI server than ours does. SQLite allows"
        " one.",
        unit="processes",
        former="GRANIAN_WORKERS",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_ATTACH_SECONDS",
        SettingKind.WHOLE,
        "270",
        "Within so long every call of the API is answered: clients of 2010 hang up after 300 s.",
        unit="seconds",
    ),
    Setting(
        Subject.SITE,
        "VASTSKY_WAITING_CALLS",
        SettingKind.WHOLE,
        "48",
        "Callers of attach, detach or createSnapshot that take the steps of their jobs at once;"
        " more of them wait for a worker.",
        unit="calls",
    ),
    # -- access -----------------------------------------------------------------------------------
    Setting(
        Subject.ACCESS,
        "VASTSKY_RPC_TRUSTED_NETWORKS",
        SettingKind.NETWORKS,
        "127.0.0.0/8,::1",
        "Programs at these addresses call the API without a token, as admin; never by a proxy.",
        in_production="",
    ),
    Setting(
        Subject.ACCESS,
        "VASTSKY_TLS_CERTIFICATE",
        SettingKind.FILE,
        "",
        "The certificate by which the manager proves to nodes who it is. With its key and the"
        " authority, or none of the three; without them only agents on this machine obey.",
    ),
    Setting(
        Subject.ACCESS,
        "VASTSKY_TLS_KEY",
        SettingKind.FILE,
        "",
        "The key of that certificate, mode 600.",
    ),
    Setting(
        Subject.ACCESS,
        "VASTSKY_TLS_AUTHORITY",
        SettingKind.FILE,
        "",
        "The certificate of the cluster's authority, of which all certificates of nodes are. For"
        " nodes to join, `authority.key` lies beside it.",
    ),
    # -- nodes ------------------------------------------------------------------------------------
    Setting(
        Subject.NODES,
        "VASTSKY_MANAGER_URLS",
        SettingKind.WORDS,
        "",
        "Where nodes reach the managers, such as https://10.1.0.1:8881, one in each network: what"
        " a join string says.",
    ),
    Setting(
        Subject.NODES,
        "VASTSKY_HEAD_AGENT_PORT",
        SettingKind.WHOLE,
        "8882",
        "The port of the agents of head servers.",
        highest=65535,
    ),
    Setting(
        Subject.NODES,
        "VASTSKY_STORAGE_AGENT_PORT",
        SettingKind.WHOLE,
        "8883",
        "The port of the agents of storage servers.",
        highest=65535,
    ),
    Setting(
        Subject.NODES,
        "VASTSKY_RECONCILE_SECONDS",
        SettingKind.WHOLE,
        "5",
        "So often every server is asked for its state, and is brought to what the rows say.",
        unit="seconds",
        former="VASTSKY_SWEEP_SECONDS",
    ),
    Setting(
        Subject.NODES,
        "VASTSKY_AGENT_TIMEOUT",
        SettingKind.WHOLE,
        "2",
        "So long a node has to answer that question. No longer than the time between two of them.",
        unit="seconds",
    ),
    Setting(
        Subject.NODES,
        "VASTSKY_SWEEP_GRACE_SECONDS",
        SettingKind.WHOLE,
        "15",
        "After a worker's start nothing on nodes is taken down for so long.",
        unit="seconds",
        lowest=0,
    ),
    # -- failures ---------------------------------------------------------------------------------
    Setting(
        Subject.FAILURES,
        "VASTSKY_SUSPECT_SECONDS",
        SettingKind.WHOLE,
        "6",
        "A server that was silent for so long is shown as suspected.",
        unit="seconds",
    ),
    Setting(
        Subject.FAILURES,
        "VASTSKY_OFFLINE_SECONDS",
        SettingKind.WHOLE,
        "20",
        "A server that was silent for so long is OFFLINE and its replicas are out of sync. More"
        " than VASTSKY_SUSPECT_SECONDS.",
        unit="seconds",
    ),
    Setting(
        Subject.FAILURES,
        "VASTSKY_GRACE_SECONDS",
        SettingKind.WHOLE,
        "600",
        "A replica that is out for so long is replaced on another server: longer than a server"
        " takes to start anew.",
        unit="seconds",
        lowest=0,
    ),
    Setting(
        Subject.FAILURES,
        "VASTSKY_BRAKE_PERCENT",
        SettingKind.WHOLE,
        "30",
        "Where more servers of a kind than this are gone together, nothing is replaced without a"
        " person: the network is likelier to be at fault.",
        unit="percent",
        highest=100,
    ),
    # -- work at once -----------------------------------------------------------------------------
    *(
        Setting(
            Subject.WORK, f"VASTSKY_{what}_{scope}", SettingKind.WHOLE, default, text, unit="jobs"
        )
        for what, scope, default, text in (
            (
                "REBUILDS",
                "PER_DISK",
                "1",
                "Rebuilds that read from, or write to, one disk at once.",
            ),
            ("REBUILDS", "PER_SERVER", "2", "Rebuilds at once on one storage server."),
            ("REBUILDS", "TOTAL", "16", "Rebuilds at once in the cluster."),
            ("SHREDS", "PER_DISK", "1", "Shreds at once on one disk."),
            ("SHREDS", "PER_SERVER", "4", "Shreds at once on one storage server."),
            ("SHREDS", "TOTAL", "64", "Shreds at once in the cluster."),
        )
    ),
    # -- scrub ------------------------------------------------------------------------------------
    Setting(
        Subject.SCRUB,
        "VASTSKY_SCRUB_DAYS",
        SettingKind.WHOLE,
        "30",
        "The replicas of every mirror are compared within so many days; 0: only when asked for.",
        unit="days",
        lowest=0,
    ),
    *(
        Setting(
            Subject.SCRUB, f"VASTSKY_SCRUBS_{scope}", SettingKind.WHOLE, default, text, unit="jobs"
        )
        for scope, default, text in (
            ("PER_DISK", "1", "Scrubs that read one disk at once."),
            ("PER_SERVER", "2", "Scrubs at once on one storage server."),
            ("TOTAL", "8", "Scrubs at once in the cluster."),
        )
    ),
    # -- what is kept -----------------------------------------------------------------------------
    Setting(
        Subject.KEPT,
        "VASTSKY_BACKUP_FOLDER",
        SettingKind.FOLDER,
        "{home}/backups",
        "Where the daily backups go: best on another machine's disk.",
    ),
    Setting(
        Subject.KEPT,
        "VASTSKY_BACKUPS_KEPT",
        SettingKind.WHOLE,
        "7",
        "One backup is made a day and so many are kept; 0: none is made. One that is older than"
        " 26 h is a problem.",
        unit="backups",
        lowest=0,
    ),
    Setting(
        Subject.KEPT,
        "VASTSKY_KEEP_JOBS_DAYS",
        SettingKind.WHOLE,
        "90",
        "Finished jobs, with their stories, are forgotten after so long; the audit log is kept.",
        unit="days",
    ),
    Setting(
        Subject.KEPT,
        "VASTSKY_KEEP_EVENTS_DAYS",
        SettingKind.WHOLE,
        "90",
        "Events are forgotten after so long.",
        unit="days",
    ),
    Setting(
        Subject.KEPT,
        "VASTSKY_KEEP_EVENTS",
        SettingKind.WHOLE,
        "500000",
        "So many events are kept at most, the latest.",
        unit="events",
    ),
    # -- metrics ----------------------------------------------------------------------------------
    Setting(
        Subject.SEEN,
        "VASTSKY_METRICS_NETWORKS",
        SettingKind.NETWORKS,
        "",
        "Programs at these addresses read /metrics without a token; never through a proxy.",
    ),
    Setting(
        Subject.SEEN,
        "VASTSKY_LOG_FORMAT",
        SettingKind.LOG_FORMAT,
        "text",
        "Log lines are `text` for people, or `json` for programs: [logs](logs.md).",
    ),
    Setting(
        Subject.SEEN,
        "VASTSKY_WEBHOOK_AUTHORITY",
        SettingKind.FILE,
        "",
        "An authority of your own that the certificates of webhooks' receivers may be of.",
    ),
    Setting(
        Subject.SEEN,
        "VASTSKY_METRICS_VOLUMES",
        SettingKind.WHOLE,
        "0",
        "So many volumes are told one by one, the oldest first; each is three more samples.",
        unit="volumes",
        lowest=0,
        highest=20_000,
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}
