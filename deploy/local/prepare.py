"""Make the database ready: migrate it and see to an administrator who can log in."""

import os

import django
from django.core.management import call_command

ADMIN = "admin"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vastsky_site.settings")
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    _see_to_admin(os.environ["VASTSKY_ADMIN_PASSWORD"])


def _see_to_admin(password: str) -> None:
    """Create the administrator at first; a password changed since then stays."""
    from django.contrib.auth.models import User  # noqa: PLC0415  models need setup() first

    users = User.objects
    if not users.filter(username=ADMIN).exists():
        users.create_superuser(username=ADMIN, email="", password=password)


if __name__ == "__main__":
    main()
