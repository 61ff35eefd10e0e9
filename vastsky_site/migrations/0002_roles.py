from typing import Any

from django.db import migrations

ROLES = ("viewer", "operator", "admin")


def make_roles(apps: Any, _: Any) -> None:
    """What each may do is in volumes.console.frame.permissions."""
    for name in ROLES:
        apps.get_model("auth", "Group").objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("vastsky_site", "0001_api_tokens"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    # Going back keeps the groups: people may be in them.
    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
