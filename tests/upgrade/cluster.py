"""A running cluster as its users see it, and what they may wait for."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.local import observe
from deploy.local.ledger import Ledger
from deploy.local.nbd import NbdClient as Device
from tests.upgrade import images
from tests.upgrade.running import Running

__all__ = ["Cluster", "Device"]

HEAL_SECONDS = 60
ALLOCATED, INSYNC = 1, 2


class Cluster(Running):
    """Whoever starts it stops it."""

    def volumes(self) -> dict[str, dict[str, Any]]:
        return {volume["lvolname"]: volume for volume in self.call("listLogicalVolumes")}

    def create(self, name: str, capacity: int = 3, redundancy: int = 3) -> None:
        self.call("createLogicalVolume", lvolname=name, capacity=capacity, redundancy=redundancy)

    def attach(self, name: str) -> None:
        head = self.call("listHeadServers")[0]["hsvrid"]
        self.call("attachLogicalVolume", lvolname=name, hsvrid=head)

    def detach(self, name: str) -> None:
        self.call("detachLogicalVolume", lvolname=name)

    def delete(self, *names: str) -> None:
        for name in names:
            self.call("deleteLogicalVolume", lvolname=name)

    def open(self, name: str) -> Device:
        return Device(self.place.links / name)

    def wrong(self, name: str, ledger: Ledger) -> list[str]:
        """Read back all that a ledger knows of a volume; tell what differs."""
        with self.open(name) as device:
            return [f"{name} at {offset}" for offset in ledger.verify(device)]

    def unequal(self) -> list[str]:
        """Compare the replicas of all detached volumes on the disks; tell which mirrors differ."""
        disks = self._disks()
        differ = []
        detached = [name for name, v in self.volumes().items() if not v["bind_status"]]
        for name in detached:
            for mirror in observe.mirrors(self.call, name):
                places = [(r["lvolspec"], r["capacity"]) for r in mirror["components"]]
                contents = {
                    images.content(disks[at["pdskid"]], at["offset"] << 30, gb << 30)
                    for at, gb in places
                }
                differ += [f"mirror {mirror['lvolid']} of {name}"] if len(contents) > 1 else []
        return differ

    def undescribed(self, name: str) -> list[int]:
        """Wait until the disks tell what they hold of a volume; the extents that they do not."""
        disks = self._disks()

        def left() -> list[int]:
            return [
                replica["lvolid"]
                for replica in observe.replicas(self.call, name)
                for at in [replica["lvolspec"]]
                if images.describes(disks[at["pdskid"]], at["offset"]) != replica["lvolid"]
            ]

        return self._patiently(left)

    def _disks(self) -> dict[int, Path]:
        return {d["pdskid"]: Path(d["local_path"]) for d in self.call("listPhysicalDisks")}

    # -- what is awaited --------------------------------------------------------------------------

    def await_all_up(self) -> None:
        observe.wait(lambda: observe.present(self.call)[:2] == (1, 4), "all servers up", 60)

    def await_at_rest(self, name: str) -> dict[str, Any]:
        """Wait until nothing is under way with a volume's attachment; its struct."""
        observe.wait(lambda: not self.volumes()[name]["bind_event"], f"{name} at rest", 60)
        return self.volumes()[name]

    def await_loss(self, name: str, node: str) -> None:
        """Wait until no replica of a volume on that node counts as good."""
        observe.wait(lambda: not self._counts(name, node), f"loss of {node} is known", 30)

    def _counts(self, name: str, node: str) -> bool:
        addresses = list(self.place.node(node).addresses)
        servers = self.call("listStorageServers")
        (ssvrid,) = (s["ssvrid"] for s in servers if s["ip_data"] == addresses)
        replicas = observe.replicas(self.call, name)
        held = [r["mirror_status"] for r in replicas if r["lvolspec"]["ssvrid"] == ssvrid]
        return INSYNC in held

    def degraded(self) -> list[str]:
        """Wait until every mirror has all its replicas; name the volumes where one still lacks."""
        return self._patiently(
            lambda: [name for name in self.volumes() if not self._is_whole(name)]
        )

    def _is_whole(self, name: str) -> bool:
        redundancy = self.volumes()[name]["redundancy"]
        mirrors = observe.mirrors(self.call, name)
        replicas = [replica for mirror in mirrors for replica in mirror["components"]]
        good = [r for r in replicas if r["mirror_status"] in {ALLOCATED, INSYNC}]
        return bool(len(good) == len(replicas) == redundancy * len(mirrors))

    def await_all_space_zeroed(self) -> None:
        """Wait until every GB that no volume has can be allocated."""
        observe.wait(lambda: len(set(observe.space(self.call))) == 1, "all space zeroed", 60)

    def open_work(self) -> list[dict[str, Any]]:
        """Wait until all jobs have ended; those that have not."""
        return self._patiently(lambda: list(self.call("vastsky.listJobs")))

    def _patiently(self, left: Callable[[], list[Any]]) -> list[Any]:
        """Give work its time; tell what is left of it, nothing if all is well."""
        with suppress(observe.Failed):
            observe.wait(lambda: not left(), "", HEAL_SECONDS)
        return left()
