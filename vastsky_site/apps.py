"""The app that wires the others and keeps the API's tokens."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class SiteConfig(AppConfig):
    """Brings the system checks."""

    name = "vastsky_site"
    verbose_name = "Access"

    def ready(self) -> None:
        """Register the checks; they look at the API, which needs all models."""
        autodiscover_modules("checks")
