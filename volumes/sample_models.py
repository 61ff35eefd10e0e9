"""What was measured, and is forgotten after a day, or a year; what heads told last of volumes."""

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Step(models.IntegerChoices):
    """Over how many minutes a sample is the mean."""

    MINUTE = 1
    HOUR = 60


class IoSample(models.Model):
    """What was asked, in one minute or hour, of many objects of a kind; or the space they had.

    One row an object would be 29 million a day where 20,000 volumes are attached. What is in `data`
    `volumes.samples.packing` knows.
    """

    class Kind(models.TextChoices):
        VOLUME = "volume"
        HEAD = "head"
        STORAGE = "storage"
        DISK = "disk"
        CLUSTER = "cluster"
        STORAGE_SPACE = "s-space", "space of a storage server"
        DISK_SPACE = "d-space", "space of a disk"

    pk = models.CompositePrimaryKey("kind", "shard", "step", "at")
    kind = models.CharField(max_length=7, choices=Kind)
    shard = models.IntegerField(help_text="which part of the objects of its kind")
    step = models.PositiveSmallIntegerField(choices=Step)
    at = models.IntegerField(help_text="when it begins, in minutes since 1970")
    data = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=["volume", "head", "storage", "disk", "cluster", "s-space", "d-space"]
                ),
                name="io_sample_kind_known",
            ),
            models.CheckConstraint(condition=Q(step__in=[1, 60]), name="io_sample_step_known"),
        ]
        indexes: ClassVar = [models.Index("step", "at", name="io_sample_at")]

    def __str__(self) -> str:
        return f"{self.kind} {self.shard} at {self.at}"


class ClusterSample(models.Model):
    """Space and work of the cluster; who writes the row of a minute or hour takes that sample."""

    pk = models.CompositePrimaryKey("step", "at")
    step = models.PositiveSmallIntegerField(choices=Step)
    at = models.IntegerField(help_text="when it begins, in minutes since 1970")
    capacity_gb = models.BigIntegerField(default=0)
    used_gb = models.BigIntegerField(default=0)
    free_gb = models.BigIntegerField(default=0, help_text="zeroed, be its disk in service or not")
    rebuild_mib = models.FloatField(default=0, help_text="rebuilt a second")
    shred_mib = models.FloatField(default=0, help_text="shredded a second")
    scrub_mib = models.FloatField(default=0, help_text="compared a second")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(step__in=[1, 60]), name="cluster_sample_step_known")
        ]

    def __str__(self) -> str:
        return f"the cluster at {self.at}"


class ShownVolume(models.Model):
    """What its head told last of a volume, up to a minute ago; what a snapshot keeps stays true."""

    class Way(models.TextChoices):
        BLOCK = "block", "a block device"
        SOCKET = "socket", "a socket"
        NONE = "none", "nothing yet"

    volume = models.OneToOneField(
        "volumes.LogicalVolume", models.CASCADE, primary_key=True, related_name="shown"
    )
    folder = models.CharField(max_length=250, help_text="where its head shows volumes")
    way = models.CharField(max_length=6, choices=Way)
    clients = models.IntegerField(help_text="how many have it open")
    held_mib = models.IntegerField(help_text="of a snapshot: what its origin has overwritten since")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(way__in=["block", "socket", "none"]), name="shown_way_known"
            )
        ]

    def __str__(self) -> str:
        return f"lvol-{self.pk:08x} in {self.folder}"
