"""The app of the iron."""

from django.apps import AppConfig


class InventoryConfig(AppConfig):
    """Servers, disks and extents."""

    name = "inventory"
    verbose_name = "Servers and disks"
