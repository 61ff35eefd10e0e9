"""What the rows say, read for planning, and the plan as of now."""

from django.db import transaction

from inventory import ids, recovery
from inventory.models import Watch
from volumes.models import LogicalVolume, Replica
from volumes.recovery import recovery_plan as planning
from volumes.recovery.recovery_plan import Held, HeldReplica, Plan
from volumes.recovery.survey import Survey

Status = Replica.Status


def plan_now(survey: Survey) -> Plan:
    """Plan with the rows as they are."""
    with transaction.atomic():
        return planning.make(survey, held())


def held() -> Held:
    """Read what the rows say, for planning."""
    rows = Replica.objects.values_list(
        "pk",
        "mirror__volume",
        "mirror",
        "mirror__volume__created",
        "extent__disk__disk_uuid",
        "extent__disk__local_path",
        "extent__offset_gb",
        "extent__size_gb",
        "extent__generation",
        "status",
    )
    volumes = list(LogicalVolume.objects.values_list("pk", "created", "name", "origin"))
    return Held(
        replicas=[
            HeldReplica(
                dextid=pk,
                volume=volume,
                mirror=mirror,
                born=int(created.timestamp()),
                disk=uuid or path,
                at_gb=at_gb,
                size_gb=size_gb,
                generation=generation,
                fresh=status == Status.ALLOCATED,
            )
            for pk, volume, mirror, created, uuid, path, at_gb, size_gb, generation, status in rows
        ],
        births={pk: int(created.timestamp()) for pk, created, _, _ in volumes},
        names={name: pk for pk, _, name, _ in volumes},
        next_id=_next_id(),
        gaps=recovery.gaps("volume"),
        origins={pk: origin for pk, _, _, origin in volumes if origin},
    )


def _next_id() -> int:
    """Tell from where on numbers may name something else on nodes than they do here.

    Until it notices, a database that was copied back gives out those of its other life again.
    """
    given_out = ids.next_of("volume")
    asked = Watch.objects.filter(pk=1).values_list("numbers", flat=True).first()
    return given_out if asked is None or not recovery.why() else min(asked, given_out)
