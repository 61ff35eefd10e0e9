"""`python -m deploy.local demo|run|clean|power-off NODE|power-on NODE`; see the Makefile."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from types import FrameType

from deploy.local import observe, story
from deploy.local.cluster import LocalCluster
from deploy.local.manager_processes import admin_password
from deploy.local.place import Place, Unusable, choose
from deploy.local.prepare import ADMIN
from deploy.local.rpc_calls import RpcCalls
from deploy.local.screen import Screen

IMPATIENT = {
    "VASTSKY_RECONCILE_SECONDS": "1",
    "VASTSKY_SWEEP_GRACE_SECONDS": "5",
    "VASTSKY_AGENT_TIMEOUT": "1",
    "VASTSKY_SUSPECT_SECONDS": "2",
    "VASTSKY_OFFLINE_SECONDS": "4",
    "VASTSKY_GRACE_SECONDS": "5",
}
"""A cluster for show heals within seconds; the settings' own defaults suit real hardware."""


REPLICAS = 3
"""Of a volume, unless it is asked for otherwise."""


class Stop(BaseException):
    """Somebody asked us to end."""


def main() -> int:
    arguments = _arguments()
    try:
        place = choose(os.environ.get("VASTSKY_HOME", "var"), os.environ.get("PORT", "8881"))
        cluster = LocalCluster(place, {**IMPATIENT, **_told()})
        if arguments.command == "power-off":
            return _power_off(cluster, place.node(arguments.node).name)
        if arguments.command == "power-on":
            return _power_on(cluster, place.node(arguments.node).name)
        if arguments.command == "clean":
            return _clean(cluster)
        return _serve(cluster, tell=arguments.command == "demo", leave=arguments.exit)
    except Unusable as refusal:
        print(f"vastsky: {refusal}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("command", choices=["demo", "run", "clean", "power-off", "power-on"])
    parser.add_argument("node", nargs="?", default="")
    parser.add_argument("--exit", action="store_true", help="end after the demo's story")
    return parser.parse_args()


def _told() -> dict[str, str]:
    """Let whoever starts us overrule our haste."""
    return {name: os.environ[name] for name in IMPATIENT if name in os.environ}


def _serve(cluster: LocalCluster, *, tell: bool, leave: bool) -> int:
    """Start, perhaps tell the story, stay until asked to end; stop whatever was started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    screen = Screen()
    try:
        _start(cluster, screen)
        right = story.tell(cluster, screen) if tell else True
        if leave:
            return 0 if right else 1
        _welcome(cluster.place, screen)
        print(f"READY {cluster.place.url}", flush=True)
        _stay(cluster, screen)
    except Stop:
        print(flush=True)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        cluster.stop()
    screen.console.print("Stopped.")
    return 0


def _start(cluster: LocalCluster, screen: Screen) -> None:
    began = time.monotonic()
    screen.console.print(f"[bold]VastSky[/] in {cluster.place.home}")
    if ended := cluster.take():
        screen.console.print(f"Ended {ended} processes that a killed start had left behind.")
    fresh = not (cluster.place.home / "nodes").exists()
    cluster.start()
    if fresh:
        _wait_for_room(cluster.place)
    screen.console.print(f"Started in {time.monotonic() - began:.1f} s.")


def _wait_for_room(place: Place) -> None:
    """Wait, but not for ever, until the first disks are zeroed: a volume needs three servers."""
    call = RpcCalls(place.rpc_url)
    with contextlib.suppress(observe.Failed):
        observe.wait(lambda: observe.roomy(call) >= REPLICAS, "room for a volume", 15)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stop


def _stay(cluster: LocalCluster, screen: Screen) -> None:
    while True:
        time.sleep(0.5)
        for part in cluster.revive():
            screen.console.print(f"{part} had died and was started again; see its log.")


def _welcome(place: Place, screen: Screen) -> None:
    storage = f"VASTSKY_HOME={place.home} PORT={place.port}"
    screen.console.print(
        f"""
[bold]Console[/]  {place.url}admin/   login: {ADMIN}   password: {admin_password(place)}
[bold]XML-RPC[/]  {place.rpc_url}
[bold]Logs[/]     {place.home / "logs"}

Three things to try:
  1. Log in to the console and look at servers, disks, volumes and jobs.
  2. Make a volume and use it:
       python3 -c 'import xmlrpc.client as x; s = x.ServerProxy("{place.rpc_url}"); \\
       s.createLogicalVolume(dict(ver=5, lvolname="mine", capacity=20)); \\
       s.attachLogicalVolume(dict(ver=5, lvolname="mine", hsvrid=1))'
       nbdinfo 'nbd+unix:///?socket={place.links / "mine"}'
  3. Pull the plug of a storage server, watch it heal, plug it in again:
       make power-off NODE=storage-2 {storage}
       make power-on NODE=storage-2 {storage}
"""
    )


def _power_off(cluster: LocalCluster, node: str) -> int:
    print(f"{node}: {cluster.kill(node)} processes killed")
    return 0


def _power_on(cluster: LocalCluster, node: str) -> int:
    if cluster.answers(node):
        print(f"{node} runs already")
        return 0
    cluster.launch(node)
    return 0


def _clean(cluster: LocalCluster) -> int:
    """Remove the data of a cluster that does not run (and nothing that is not a cluster's)."""
    place = cluster.place
    if not (place.home / "lock").exists():
        return 0
    cluster.take()
    cluster.stop()
    for folder in {place.run, place.home}:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"Removed {place.home}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
