"""The site: it wires the apps together; nothing imports it."""

from vastsky_site.celery import app as celery_app

__all__ = ["celery_app"]
