"""What `step` told of a job in five ways becomes one named column each."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

COPIERS = {"head": "head", "pull": "storage"}


def split(apps: StateApps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Read what each kind of job had written into `step`."""
    jobs = apps.get_model("volumes", "Job").objects.exclude(step="")
    jobs.filter(kind="attach", step="force").update(forced=True)
    jobs.filter(kind="shred").update(ordered=True)
    jobs.filter(kind="unsnapshot").update(
        was_broken=models.Case(models.When(step="broken", then=True), default=False)
    )
    for job in jobs.filter(kind="rebuild").iterator():
        copier, _, epoch = job.step.partition(":")
        job.ordered = True
        job.copier = COPIERS.get(copier, "")
        job.copier_epoch = int(epoch) if epoch.isdecimal() else 0
        job.save(update_fields=["ordered", "copier", "copier_epoch"])


class Migration(migrations.Migration):
    dependencies = [("volumes", "0009_reasons_are_a_closed_set")]

    operations = [
        migrations.AddField(
            "job",
            "ordered",
            models.BooleanField(
                default=False, help_text="of long work: an order of this job may be out on a node"
            ),
        ),
        migrations.AddField(
            "job",
            "forced",
            models.BooleanField(
                default=False,
                help_text="of an attach: replicas that cannot be read are not the newest",
            ),
        ),
        migrations.AddField(
            "job",
            "copier",
            models.CharField(
                blank=True,
                choices=[
                    ("head", "the head that uses the volume"),
                    ("storage", "the replica's own storage server"),
                ],
                default="",
                help_text="of a rebuild whose order is out: which node copies",
                max_length=7,
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "job",
            "copier_epoch",
            models.IntegerField(
                default=0,
                help_text="of a rebuild whose order is out: the volume's epoch at that time",
            ),
        ),
        migrations.AddField(
            "job",
            "was_broken",
            models.BooleanField(
                help_text="of a deletion the head was told of: the snapshot was broken before",
                null=True,
            ),
        ),
        migrations.RunPython(split, migrations.RunPython.noop),
        migrations.RemoveField("job", "step"),
        migrations.AddConstraint(
            "job",
            models.CheckConstraint(
                condition=models.Q(copier__in=["", "head", "storage"]), name="job_copier_known"
            ),
        ),
    ]
