"""Which lists the console has."""

from django.contrib import admin
from django.db.models import Model
from unfold.admin import ModelAdmin

from inventory.models import Disk, EventEntry, Extent, HeadServer, StorageServer
from volumes.console.lists.event_lists import EventList
from volumes.console.lists.hardware_lists import DiskList, ExtentList, HeadList, StorageList
from volumes.console.lists.job_lists import JobList
from volumes.console.lists.orphan_lists import OrphanList
from volumes.console.lists.scrub_lists import BlockContentList, UnequalBlockList
from volumes.console.lists.volume_lists import AttachmentList, MirrorList, ReplicaList, VolumeList
from volumes.models import (
    Attachment,
    BlockContent,
    Job,
    LogicalVolume,
    Mirror,
    Orphan,
    Replica,
    UnequalBlock,
)

LISTS: dict[type[Model], type[ModelAdmin]] = {
    LogicalVolume: VolumeList,
    Attachment: AttachmentList,
    Mirror: MirrorList,
    Replica: ReplicaList,
    HeadServer: HeadList,
    StorageServer: StorageList,
    Disk: DiskList,
    Extent: ExtentList,
    Job: JobList,
    EventEntry: EventList,
    UnequalBlock: UnequalBlockList,
    BlockContent: BlockContentList,
    Orphan: OrphanList,
}

for model, listing in LISTS.items():
    admin.site.register(model, listing)
