"""Begin each id space at 1."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

SPACES = ("volume", "head", "storage", "disk", "event")


def begin(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Write the row of each space."""
    id_space = apps.get_model("inventory", "IdSpace")
    id_space.objects.bulk_create([id_space(name=name, next_id=1) for name in SPACES])


def forget(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the rows."""
    apps.get_model("inventory", "IdSpace").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_extents_never_overlap")]

    operations = [migrations.RunPython(begin, forget)]
