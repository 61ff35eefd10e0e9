"""The app of what is promised on the hardware."""

from django.apps import AppConfig


class VolumesConfig(AppConfig):
    """Volumes, attachments and jobs."""

    name = "volumes"
    verbose_name = "Volumes and work"
