"""The invariants that rows can break, each as one query that selects what breaks it."""
# ruff: noqa: S608
# These queries are put together from this file's own constants; nothing comes from outside.

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: `sql` selects what breaks it, `row` tells how to print what it selects.

    `%(settled)s` stands for the moment before which failures must have been acted on.
    """

    rule: str
    row: str
    sql: str


GOOD = "(1, 2, 5)"
"""ALLOCATED, INSYNC, NEEDSHRED: replicas that hold all that was acknowledged."""

NUMBERS = """
    SELECT id, 'lvol' AS kind FROM volumes_logicalvolume
    UNION ALL SELECT node_id, 'snapshot node' FROM volumes_logicalvolume
    UNION ALL SELECT linear_id, 'linear' FROM volumes_logicalvolume
    UNION ALL SELECT id, 'mirr' FROM volumes_mirror
    UNION ALL SELECT id, 'dext' FROM inventory_extent"""

USABLE_REPLICAS = f"""
    SELECT m.id, v.redundancy,
      (SELECT COUNT(*) FROM volumes_replica l
        WHERE l.mirror_id = m.id AND l.status IN {GOOD}) AS good,
      (SELECT COUNT(*) FROM volumes_job j WHERE j.mirror_id = m.id AND j.state = 'open'
        AND j.kind = 'rebuild') AS repairs,
      (SELECT MAX(l.since) FROM volumes_replica l WHERE l.mirror_id = m.id) AS since
    FROM volumes_mirror m JOIN volumes_logicalvolume v ON v.id = m.volume_id
    WHERE NOT v.broken"""
"""Of mirrors that are still to be kept whole: a broken snapshot is only waiting to be deleted."""

PLACED = """
    volumes_replica l JOIN inventory_extent e ON e.id = l.extent_id
    JOIN inventory_disk d ON d.id = e.disk_id
    JOIN inventory_storageserver s ON s.id = d.server_id"""

CHECKS = [
    # -- space
    Check(
        "I1 extents do not tile a disk",
        "pdsk-{0:08x}: dext-{1:08x} begins at {2} GB where {3} GB was next",
        """SELECT disk_id, id, offset_gb, next_gb FROM (
             SELECT disk_id, id, offset_gb, COALESCE(LAG(offset_gb + size_gb) OVER (
               PARTITION BY disk_id ORDER BY offset_gb, id), 0) AS next_gb
             FROM inventory_extent) t WHERE offset_gb <> next_gb""",
    ),
    Check(
        "I1 extents do not end where the disk does",
        "pdsk-{0:08x}: {1} GB, extents up to {2} GB",
        """SELECT d.id, d.capacity_gb, COALESCE(MAX(e.offset_gb + e.size_gb), 0)
           FROM inventory_disk d LEFT JOIN inventory_extent e ON e.disk_id = d.id
           GROUP BY d.id, d.capacity_gb
           HAVING COALESCE(MAX(e.offset_gb + e.size_gb), 0) <> d.capacity_gb""",
    ),
    Check(
        "I1 the last GB of a disk is not its only SUPER extent",
        "pdsk-{0:08x}: {1} GB, {2} SUPER extents",
        """SELECT d.id, d.capacity_gb, COUNT(e.id)
           FROM inventory_disk d LEFT JOIN inventory_extent e ON e.disk_id = d.id AND e.status = 5
           WHERE d.capacity_gb > 0 GROUP BY d.id, d.capacity_gb
           HAVING COUNT(e.id) <> 1 OR MIN(e.offset_gb) <> d.capacity_gb - 1
             OR MIN(e.size_gb) <> 1""",
    ),
    Check(
        "I1 free neighbours are not merged",
        "pdsk-{0:08x}: dext-{1:08x}, dext-{2:08x}",
        """SELECT a.disk_id, a.id, b.id FROM inventory_extent a JOIN inventory_extent b
           ON b.disk_id = a.disk_id AND b.offset_gb = a.offset_gb + a.size_gb
           WHERE a.status = 2 AND b.status = 2""",
    ),
    Check(
        "I2 an extent in use belongs to no replica",
        "dext-{0:08x} on pdsk-{1:08x}",
        """SELECT e.id, e.disk_id FROM inventory_extent e LEFT JOIN volumes_replica l
           ON l.extent_id = e.id WHERE e.status IN (1, 3) AND l.extent_id IS NULL""",
    ),
    Check(
        "I2 a replica lives in an extent that is not in use",
        "mirr-{0:08x}: dext-{1:08x} has status {2}",
        """SELECT l.mirror_id, e.id, e.status FROM volumes_replica l JOIN inventory_extent e
           ON e.id = l.extent_id WHERE e.status NOT IN (1, 3)""",
    ),
    Check(
        "I19 space in use was not certified zero before",
        "dext-{0:08x}: generation {1}, zeroed after {2}",
        """SELECT id, generation, zeroed_generation FROM inventory_extent
           WHERE status IN (1, 3) AND zeroed_generation <> generation - 1""",
    ),
    Check(
        "I19 free space is not certified zero",
        "dext-{0:08x}: generation {1}, zeroed after {2}",
        """SELECT id, generation, zeroed_generation FROM inventory_extent
           WHERE status = 2 AND zeroed_generation <> generation""",
    ),
    Check(
        "I20 an extent that is being shredded is in use",
        "job {0}: dext-{1:08x}",
        """SELECT j.id, e.id FROM volumes_job j JOIN inventory_extent e ON e.id = j.extent_id
           WHERE j.state = 'open' AND j.kind = 'shred'
             AND (e.status IN (1, 3)
                  OR EXISTS (SELECT 1 FROM volumes_replica l WHERE l.extent_id = e.id))""",
    ),
    # -- replicas
    Check(
        "I3 two replicas on one server",
        "mirr-{0:08x}: dext-{1:08x}, dext-{2:08x}",
        """WITH placed AS (SELECT l.mirror_id, l.extent_id, d.server_id FROM volumes_replica l
             JOIN inventory_extent e ON e.id = l.extent_id
             JOIN inventory_disk d ON d.id = e.disk_id)
           SELECT a.mirror_id, a.extent_id, b.extent_id FROM placed a JOIN placed b
           ON b.mirror_id = a.mirror_id AND b.server_id = a.server_id
             AND b.extent_id > a.extent_id""",
    ),
    Check(
        "I3 a replica is recorded on another server than its disk",
        "dext-{0:08x}: ssvr-{1:08x}, its disk is on ssvr-{2:08x}",
        f"SELECT l.extent_id, l.server_id, d.server_id FROM {PLACED}"
        " WHERE l.server_id <> d.server_id",
    ),
    Check(
        "I4 too many usable replicas",
        "mirr-{0:08x}: {1} of {2}",
        f"SELECT id, good, redundancy FROM ({USABLE_REPLICAS}) t"
        " WHERE good > redundancy + CASE WHEN repairs > 0 THEN 1 ELSE 0 END",
    ),
    Check(
        "I4 too few usable replicas and no repair under way",
        "mirr-{0:08x}: {1} of {2}",
        f"SELECT id, good, redundancy FROM ({USABLE_REPLICAS}) t"
        " WHERE good < redundancy AND repairs = 0 AND (since IS NULL OR since < %(settled)s)",
    ),
    Check(
        "I5 a mirror has no good replica left",
        "mirr-{0:08x} of lvol-{1:08x}",
        f"""SELECT m.id, m.volume_id FROM volumes_mirror m
            JOIN volumes_logicalvolume v ON v.id = m.volume_id
            WHERE NOT v.broken AND NOT EXISTS (
            SELECT 1 FROM volumes_replica l WHERE l.mirror_id = m.id AND l.status IN {GOOD})""",
    ),
    Check(
        "I5 an attached volume's mirror has no replica in sync",
        "mirr-{0:08x} of lvol-{1:08x}",
        # A snapshot that is being made is in use from the end of its job on.
        """SELECT m.id, m.volume_id FROM volumes_mirror m
           JOIN volumes_logicalvolume v ON v.id = m.volume_id
           JOIN volumes_attachment a ON a.volume_id = COALESCE(v.origin_id, v.id)
           WHERE a.state = 'bound' AND NOT v.broken
             AND EXISTS (SELECT 1 FROM volumes_replica l
               WHERE l.mirror_id = m.id AND l.status IN (1, 5))
             AND NOT EXISTS (SELECT 1 FROM volumes_replica l
               WHERE l.mirror_id = m.id AND l.status = 2)
             AND NOT EXISTS (SELECT 1 FROM volumes_job j
               WHERE j.snapshot_id = v.id AND j.state = 'open' AND j.kind = 'snapshot')""",
    ),
    Check(
        "I14 a replica is not as large as its mirror",
        "mirr-{0:08x}: {1} GB, dext-{2:08x}: {3} GB",
        """SELECT m.id, m.size_gb, e.id, e.size_gb FROM volumes_replica l
           JOIN volumes_mirror m ON m.id = l.mirror_id
           JOIN inventory_extent e ON e.id = l.extent_id WHERE e.size_gb <> m.size_gb""",
    ),
    Check(
        "I14 mirrors do not tile their volume",
        "lvol-{0:08x}: mirr-{1:08x} begins at {2} GB where {3} GB was next",
        """SELECT volume_id, id, offset_gb, next_gb FROM (
             SELECT volume_id, id, offset_gb, COALESCE(LAG(offset_gb + size_gb) OVER (
               PARTITION BY volume_id ORDER BY offset_gb, id), 0) AS next_gb
             FROM volumes_mirror) t WHERE offset_gb <> next_gb""",
    ),
    Check(
        "I14 mirrors do not add up to their volume",
        "lvol-{0:08x}: {1} GB, mirrors of {2} GB",
        """SELECT v.id, v.store_gb, COALESCE(SUM(m.size_gb), 0) FROM volumes_logicalvolume v
           LEFT JOIN volumes_mirror m ON m.volume_id = v.id GROUP BY v.id, v.store_gb
           HAVING COALESCE(SUM(m.size_gb), 0) <> v.store_gb""",
    ),
    Check(
        "I14 a volume is not stored in its whole size",
        "lvol-{0:08x}: {1} GB, {2} GB stored",
        """SELECT id, capacity_gb, store_gb FROM volumes_logicalvolume
           WHERE origin_id IS NULL AND capacity_gb <> store_gb""",
    ),
    Check(
        "I22 a replica was placed on a disk or server that was not usable",
        "dext-{0:08x} on pdsk-{1:08x} of ssvr-{2:08x}",
        f"""SELECT l.extent_id, d.id, s.id FROM {PLACED} WHERE l.status = 1
            AND ((d.priority > 2 AND d.priority_since < l.since)
              OR (s.priority > 2 AND s.priority_since < l.since))""",
    ),
    # -- volumes and where they are attached
    Check(
        "I8 an attached volume was never given an epoch",
        "lvol-{0:08x}",
        """SELECT v.id FROM volumes_attachment a JOIN volumes_logicalvolume v
           ON v.id = a.volume_id WHERE v.epoch < 1""",
    ),
    Check(
        "I9 a transition has not exactly one job",
        "lvol-{0:08x} is {1} with {2} jobs",
        """SELECT volume_id, state, jobs FROM (
             SELECT a.volume_id, a.state, (
               SELECT COUNT(*) FROM volumes_job j WHERE j.volume_id = a.volume_id
                 AND j.state = 'open' AND ((a.state = 'binding' AND j.kind = 'attach')
                   OR (a.state = 'unbinding' AND j.kind IN ('detach', 'fence')))) AS jobs
             FROM volumes_attachment a WHERE a.state IN ('binding', 'unbinding')) t
           WHERE jobs <> 1""",
    ),
    Check(
        "I9 an open job has no transition",
        "job {0}: {1} of lvol-{2:08x}",
        """SELECT j.id, j.kind, j.volume_id FROM volumes_job j WHERE j.state = 'open'
           AND j.kind IN ('attach', 'detach', 'fence') AND NOT EXISTS (
             SELECT 1 FROM volumes_attachment a WHERE a.volume_id = j.volume_id
               AND a.state = CASE j.kind WHEN 'attach' THEN 'binding' ELSE 'unbinding' END)""",
    ),
    Check(
        "I10 a job is open beyond its deadline",
        "job {0}: {1} {2}",
        """SELECT id, kind, subject FROM volumes_job
           WHERE state = 'open' AND deadline < %(settled)s AND due < %(settled)s""",
    ),
    Check(
        "I11 a snapshot is attached by itself",
        "lvol-{0:08x}",
        """SELECT v.id FROM volumes_attachment a JOIN volumes_logicalvolume v
           ON v.id = a.volume_id WHERE v.origin_id IS NOT NULL""",
    ),
    Check(
        "I12 a snapshot has a snapshot as its origin",
        "lvol-{0:08x} of lvol-{1:08x}",
        """SELECT v.id, o.id FROM volumes_logicalvolume v JOIN volumes_logicalvolume o
           ON o.id = v.origin_id WHERE o.origin_id IS NOT NULL""",
    ),
    Check(
        "I13 two volumes have one name",
        "{0}: lvol-{1:08x}, lvol-{2:08x}",
        """SELECT name, MIN(id), MAX(id) FROM volumes_logicalvolume GROUP BY name
           HAVING COUNT(*) > 1""",
    ),
    # -- numbers and servers
    Check(
        "I17 a number is used twice",
        "{0:08x}: {1}, {2}",
        f"SELECT id, MIN(kind), MAX(kind) FROM ({NUMBERS}) t GROUP BY id HAVING COUNT(*) > 1",
    ),
    Check(
        "I17 a number is beyond what its id space has given out",
        "{0}: {1} is used, {2} comes next",
        f"""SELECT s.name, used.last_id, s.next_id FROM inventory_idspace s JOIN (
            SELECT 'volume' AS name, MAX(id) AS last_id FROM ({NUMBERS}) t
            UNION ALL SELECT 'head', MAX(id) FROM inventory_headserver
            UNION ALL SELECT 'storage', MAX(id) FROM inventory_storageserver
            UNION ALL SELECT 'disk', MAX(id) FROM inventory_disk
            UNION ALL SELECT 'event', MAX(id) FROM volumes_job) used ON used.name = s.name
            WHERE used.last_id >= s.next_id""",
    ),
    Check(
        "I17 an id space is missing",
        "{0} of 5 are there",
        "SELECT COUNT(*) FROM inventory_idspace HAVING COUNT(*) <> 5",
    ),
    Check(
        "I26 a disk is in service on a server that is not",
        "pdsk-{0:08x} of ssvr-{1:08x}",
        """SELECT d.id, s.id FROM inventory_disk d JOIN inventory_storageserver s
           ON s.id = d.server_id WHERE d.priority IN (1, 2, 3) AND s.priority NOT IN (1, 2, 3)""",
    ),
]
