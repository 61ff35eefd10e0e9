"""The command `vastsky-node`: join a cluster, look whether all is well here, renew, replace."""

import argparse
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from agents import join_string
from agents.errors import AgentError
from agents.join_string import Garbled
from agents.membership import joining, renewal, self_check
from agents.membership.node_checks import Finding
from agents.membership.node_files import HEAD, STORAGE, NodeFiles, Wanted
from agents.monitor import smart_warning
from agents.monitor.monitor import KMSG, Monitor
from agents.node.config import (
    ConfigError,
    EngineKind,
    HeadConfig,
    NodeConfig,
    StorageConfig,
    load_config,
)
from agents.node.manager_client import Fault, NoManager
from agents.version import VERSION

BAD_WORDS, FOUND = 2, 1
KINDS: dict[str, type[NodeConfig]] = {HEAD: HeadConfig, STORAGE: StorageConfig}
START = """\
{name} has joined. Start {what}:

{commands}
"""


def main() -> None:
    """Run the command line: status 1 if something was found or failed, 2 for wrong words."""
    parser = _parser()
    words = parser.parse_args()
    files = NodeFiles(words.config_dir, words.state_dir, words.run_dir)
    try:
        sys.exit(words.act(words, files))
    except (Garbled, ConfigError) as error:
        parser.exit(BAD_WORDS, f"vastsky-node: {error}\n")
    except (AgentError, OSError) as error:
        parser.exit(FOUND, f"vastsky-node: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vastsky-node", description=__doc__)
    parser.add_argument("--version", action="version", version=f"vastsky-node {VERSION}")
    parser.add_argument("--config-dir", type=Path, default=Path("/etc/vastsky"), metavar="FOLDER")
    parser.add_argument(
        "--state-dir", type=Path, default=Path("/var/lib/vastsky"), metavar="FOLDER"
    )
    parser.add_argument("--run-dir", type=Path, default=Path("/run/vastsky"), metavar="FOLDER")
    acts = parser.add_subparsers(required=True)
    join = acts.add_parser(
        "join", help="join a cluster by a join string, which the manager's `node add` prints"
    )
    join.set_defaults(act=_join)
    join.add_argument("string", help="- reads it from the standard input")
    join.add_argument("--head", action="store_true", help="attach volumes here")
    join.add_argument("--storage", action="store_true", help="give disks to the cluster")
    join.add_argument("--disk", action="append", default=[], metavar="PATH", help="of --storage")
    join.add_argument("--address", action="append", metavar="IPV4", help="once for each network")
    join.add_argument("--site", default="", help="where it stands: replicas are spread over sites")
    join.add_argument("--rack", default="")
    join.add_argument(
        "--engine",
        type=EngineKind,
        choices=list(EngineKind),
        default=EngineKind.USERSPACE,
        help="what moves the bytes: userspace, the default, or kernel",
    )
    check = acts.add_parser(
        "check", help="tell what is wrong with this node; status 1 if anything must be mended"
    )
    check.set_defaults(act=_check)
    watch = acts.add_parser(
        "monitor", help="tell the manager what smartd (-M exec) or the kernel's log says of disks"
    )
    watch.set_defaults(act=_monitor)
    watch.add_argument("--kmsg", type=Path, default=KMSG, metavar="FILE", help="the kernel's log")
    renew = acts.add_parser("renew", help="renew its certificate if it ends soon")
    renew.set_defaults(act=_renew)
    renew.add_argument("--now", action="store_true", help="however long it is valid yet")
    return parser


def _join(words: argparse.Namespace, files: NodeFiles) -> int:
    roles = tuple(role for role in (HEAD, STORAGE) if getattr(words, role))
    if not roles or bool(words.disk) != words.storage:
        raise ConfigError("say --head, or --storage with a --disk for each disk, or both")
    text = sys.stdin.read() if words.string == "-" else words.string
    string = join_string.parse(text)
    told = joining.learn(string)
    addresses = tuple(words.address or joining.find_addresses(string.urls))
    wanted = Wanted(roles, addresses, tuple(words.disk), words.site, words.rack, words.engine)
    # Where it has joined before, for another key, its own agents have their ports.
    fresh = [role for role in roles if not files.settings(role).exists()]
    if forbids := joining.forbids(told, wanted, joining.ports(told, fresh)):
        _say(forbids)
        _out("Nothing was sent and nothing was written: mend this, then join with the same string.")
        return FOUND
    _say(joining.advises(string, wanted))
    name = joining.join(string, told, wanted, files)
    commands = "\n".join(
        f"  systemctl enable --now vastsky-{role}    # or: python3 -m agents {role} --config"
        f" {files.settings(role)}"
        for role in roles
    )
    _out(START.format(name=name, what=" and ".join(roles), commands=commands))
    return 0


def _check(_: argparse.Namespace, files: NodeFiles) -> int:
    found = self_check.look(_configs(files))
    _say(found)
    return FOUND if any(not one.advice for one in found) else 0


def _renew(words: argparse.Namespace, files: NodeFiles) -> int:
    if not words.now and not renewal.is_due(files.certificate):
        return 0
    first = next(iter(_configs(files).values()))
    urls = [url.removesuffix("/RPC2") for url in first.managers]
    end = renewal.renew(urls, files, first.token_name)
    _out(f"The certificate is valid until {end:%Y-%m-%d}.")
    return 0


def _monitor(words: argparse.Namespace, files: NodeFiles) -> int:
    """Tell one warning where smartd started us; else follow the kernel's log."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if not files.settings(STORAGE).exists():
        raise ConfigError(f"{files.settings(STORAGE)}: this node has no disks of the cluster")
    config = load_config(StorageConfig, files.settings(STORAGE))
    monitor = Monitor(config, files.state / "monitor" / "memory.json")
    try:
        if warning := smart_warning.told(os.environ):
            monitor.hear_smartd(warning)
        else:
            monitor.follow(words.kmsg)
    except (NoManager, Fault) as error:
        _out(f"vastsky-node: {error}")
        return FOUND
    return 0


def _configs(files: NodeFiles) -> dict[str, NodeConfig]:
    """Read the settings of this node's agents."""
    found = {role: files.settings(role) for role in KINDS if files.settings(role).exists()}
    if not found:
        raise ConfigError(f"{files.folder}: no head.toml or storage.toml: join first")
    return {role: load_config(KINDS[role], path) for role, path in found.items()}


def _say(found: Iterable[Finding]) -> None:
    for one in found:
        _out(str(one))


def _out(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
