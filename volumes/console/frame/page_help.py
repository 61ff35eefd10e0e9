"""Help on each page: one sentence, and where the manual says more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Help:
    """What a page is for; `chapter` of the manual, and a heading in it."""

    text: str
    chapter: str = "console"
    heading: str = ""


VOLUMES = Help(
    "Every volume with how well it is protected and where it is used; a row leads to its page.",
    "console",
    "pages",
)
JOBS = Help("Work that needs nodes: what is under way, what it waits for, what came of it.", "jobs")
SCRUBS = Help("Where replicas of one mirror differ, and what was done about it.", "scrub")
PAGES = {
    "admin:index": Help("Is my data safe, what is wrong, and what is being done about it."),
    "console:problems": Help(
        "What is wrong now, one card for each cause, most dangerous to data first, each with the"
        " next safe step.",
    ),
    "console:cluster": Help("All servers and disks by site and rack, and what lies on each disk."),
    "console:placement": Help(
        "Where a new volume would go, and what would become of data if something died.",
        "placement",
        "seen-beforehand",
    ),
    "console:paths": Help(
        "Which head reaches which storage server by which network, and how fast.",
    ),
    "console:create": Help(
        "A volume is kept in replicas on different servers; its place is shown before it is made.",
        "placement",
        "a-mirrors-replicas-get-disks",
    ),
    "console:act": Help(
        "What will be done, to what and what else is hit: nothing is done before you confirm it.",
        "console",
        "doing-something",
    ),
    "console:acknowledge": Help("Who knows of a problem, why, and until when it is told apart."),
    "console:manual": Help("What you read here is of this release.", "glossary"),
    "console:manual-index": Help("What you read here is of this release.", "glossary"),
    "admin:volumes_logicalvolume": VOLUMES,
    "admin:volumes_attachment": Help("Which volume is used on which head server.", "attach"),
    "admin:volumes_replica": Help(
        "The equal stores of each mirror, each on another server.", "rebuild"
    ),
    "admin:volumes_mirror": Help(
        "The stretches of volumes that are kept in replicas.",
        "placement",
        "a-volume-becomes-mirrors",
    ),
    "admin:volumes_job": JOBS,
    "admin:volumes_unequalblock": SCRUBS,
    "admin:volumes_blockcontent": SCRUBS,
    "admin:volumes_orphan": Help(
        "What nodes hold that this database does not know: it is listed and left alone.", "recovery"
    ),
    "admin:inventory_storageserver": Help("Servers whose disks hold the data.", "nodes"),
    "admin:inventory_headserver": Help("Servers on which volumes are used.", "nodes"),
    "admin:inventory_disk": Help("Disks of storage servers, known by their labels.", "disks"),
    "admin:inventory_extent": Help(
        "Every GB of a disk belongs to one extent: used, free, or still to be zeroed.",
        "placement",
        "extents-tile-a-disk",
    ),
    "admin:inventory_evententry": Help("What happened to what, when and why.", "events"),
    "admin:inventory_auditentry": Help("Who changed what, and by which way.", "access"),
    "admin:inventory_member": Help(
        "Machines that may join by a join string, and that have joined.", "join"
    ),
    "admin:auth_user": Help("Who may sign in, and what each role allows.", "access"),
    "admin:vastsky_site_apitoken": Help("With what programs call the API.", "access"),
    "token-create": Help("A token is shown this once and kept nowhere.", "access"),
    "node-invite": Help("One line lets one machine join, once.", "join", "the-join-string"),
    "node-rekey": Help("One line lets one machine join, once.", "join", "the-join-string"),
    "settings": Help("How this manager is set, and what each setting does.", "settings"),
    "support": Help("One file with what somebody needs who helps you.", "console", "pages"),
}


def of_view(name: str) -> Help | None:
    """Find the help of a page by its address's name; the page of a row has that of its list."""
    return PAGES.get(name) or PAGES.get(name.rpartition("_")[0])
