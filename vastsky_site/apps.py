"""The app that wires the others; it has no models."""

from django.apps import AppConfig

from vastsky_site import checks  # noqa: F401  (being imported is what registers them)


class SiteConfig(AppConfig):
    """Brings the system checks."""

    name = "vastsky_site"
    verbose_name = "VastSky"
