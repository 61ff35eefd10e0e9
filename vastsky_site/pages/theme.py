"""How the console looks and what its sidebar offers; everything is served from here, no CDN."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy

_PERMISSIONS = "volumes.console.frame.permissions"
_ADMINISTERS = f"{_PERMISSIONS}.administers"


def _item(title: str, icon: str, link: str, **more: Any) -> dict[str, Any]:
    permission = f"{_PERMISSIONS}.views"
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(link),
        "permission": permission,
        **more,
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "VastSky",
    "SITE_HEADER": "VastSky",
    "SITE_SUBHEADER": "Cluster block storage",
    "SITE_SYMBOL": "database",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _: static("vastsky/favicon.svg"),
        }
    ],
    "STYLES": [
        lambda _: static("vastsky/console.css"),
        lambda _: static("vastsky/pages.css"),
        lambda _: static("vastsky/charts.css"),
    ],
    "SCRIPTS": [
        lambda _: static("vastsky/console.js"),
        lambda _: static("vastsky/find.js"),
        lambda _: static("vastsky/pages.js"),
        lambda _: static("vastsky/charts.js"),
        lambda _: static("vastsky/copy.js"),
    ],
    "LOGIN": {
        "image": lambda _: static("vastsky/login.svg"),
        "form": "vastsky_site.access.login.LoginForm",
    },
    "DASHBOARD_CALLBACK": "volumes.console.pages.overview.dashboard",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 230)",
            "100": "oklch(94% .03 230)",
            "200": "oklch(89% .06 230)",
            "300": "oklch(82% .1 230)",
            "400": "oklch(73% .14 232)",
            "500": "oklch(60% .15 236)",
            "600": "oklch(50% .14 240)",
            "700": "oklch(43% .12 241)",
            "800": "oklch(38% .1 242)",
            "900": "oklch(33% .08 243)",
            "950": "oklch(25% .06 244)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "items": [
                    _item("Overview", "monitoring", "admin:index"),
                    _item(
                        "Problems",
                        "warning",
                        "console:problems",
                        badge="volumes.console.pages.overview.badge",
                        badge_variant="danger",
                    ),
                    _item("Cluster", "account_tree", "console:cluster"),
                ],
            },
            {
                "title": "Data",
                "separator": True,
                "items": [
                    _item("Volumes", "hard_drive", "admin:volumes_logicalvolume_changelist"),
                    _item(
                        "New volume",
                        "add_circle",
                        "console:create",
                        permission=f"{_PERMISSIONS}.operates",
                    ),
                    _item("Attachments", "link", "admin:volumes_attachment_changelist"),
                    _item("Replicas", "content_copy", "admin:volumes_replica_changelist"),
                    _item("Mirrors", "view_week", "admin:volumes_mirror_changelist"),
                ],
            },
            {
                "title": "Hardware",
                "separator": True,
                "items": [
                    _item("Storage servers", "dns", "admin:inventory_storageserver_changelist"),
                    _item("Head servers", "computer", "admin:inventory_headserver_changelist"),
                    _item("Disks", "album", "admin:inventory_disk_changelist"),
                    _item("Extents", "grid_view", "admin:inventory_extent_changelist"),
                    _item("Paths", "route", "console:paths"),
                    _item("Placement", "select_all", "console:placement"),
                    _item("Orphans", "help_center", "admin:volumes_orphan_changelist"),
                ],
            },
            {
                "title": "Work",
                "separator": True,
                "items": [
                    _item("Jobs", "checklist", "admin:volumes_job_changelist"),
                    _item("Events", "event_note", "admin:inventory_evententry_changelist"),
                    _item("Scrubs", "compare", "admin:volumes_unequalblock_changelist"),
                ],
            },
            {
                "title": "Manager",
                "separator": True,
                "items": [
                    _item("Settings", "settings", "settings"),
                    _item("Manual", "menu_book", "console:manual-index"),
                    _item(
                        "Support bundle",
                        "support_agent",
                        "support",
                        permission=_ADMINISTERS,
                    ),
                ],
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    _item("Audit log", "history", "admin:inventory_auditentry_changelist"),
                    _item("People", "group", "admin:auth_user_changelist", permission=_ADMINISTERS),
                    _item(
                        "Nodes",
                        "lan",
                        "admin:inventory_member_changelist",
                        permission=_ADMINISTERS,
                    ),
                    _item(
                        "API tokens",
                        "key",
                        "admin:vastsky_site_apitoken_changelist",
                        permission=_ADMINISTERS,
                    ),
                ],
            },
        ],
    },
}
