"""The app of the hardware."""

from django.apps import AppConfig


class InventoryConfig(AppConfig):
    """Servers, disks and extents."""

    name = "inventory"
    verbose_name = "Servers and disks"

    def ready(self) -> None:
        """Make the lookup `among` known before anybody asks by it."""
        from inventory import among  # noqa: F401, PLC0415
