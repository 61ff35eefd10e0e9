"""The app of the hardware."""

from django.apps import AppConfig


class InventoryConfig(AppConfig):
    """Servers, disks and extents."""

    name = "inventory"
    verbose_name = "Servers and disks"
