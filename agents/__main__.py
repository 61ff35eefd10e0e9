"""The command line of a node's agent."""

import argparse
import contextlib
import errno
import logging
import sqlite3
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agents import log_lines
from agents.errors import AgentError
from agents.node import host_files
from agents.node.config import ConfigError, HeadConfig, LogFormat, StorageConfig, load_config
from agents.node.daemon import run
from agents.node.engine_choice import head_engine, storage_engine
from agents.node.head.head_agent import HeadRole
from agents.node.storage.storage_agent import StorageRole
from agents.version import VERSION

DESCRIPTION = """\
The agent of a VastSky node. It registers with the manager, obeys its orders and tells what fails.
SIGTERM ends the agent alone: what it serves goes on, and its next start finds it again.
SIGHUP makes a storage agent read its configuration file again, for disks that were added.
"""
BAD_CONFIG = 2
ROOT = Path("/")
RUN, STOP, INSTALL, CHECK = "run", "stop-engine", "install-files", "check-files"
INSTEAD = {
    STOP: "end what the agent left running, and nothing else (a head's groups are not "
    "detached: its next agent brings them back). Stop the agent first",
    INSTALL: "write what block devices need on a head's machine: /etc/modules-load.d, udev's rules",
    CHECK: "tell what is missing on a head's machine for block devices; status 1 if anything is",
}


def main() -> None:
    """Run the command line; it exits with 2 if it, or the configuration, cannot be understood."""
    parser = _parser()
    words = parser.parse_args()
    _log(words.log_level, words.log_format or _log_format(words.config))
    act = ACTS.get((words.kind, words.act))
    if act is None:
        parser.error(f"a {words.kind} agent has no --{words.act}")
    try:
        act(words.config)
    except ConfigError as error:
        parser.exit(BAD_CONFIG, f"{error}\n")
    except (AgentError, OSError, sqlite3.Error) as error:
        parser.exit(1, f"agents {words.kind}: {error}\n")


def _log_format(path: Path) -> str:
    """Read how the configuration wants the log written; what is wrong with it is told later."""
    with contextlib.suppress(OSError, ValueError):
        wanted = tomllib.loads(path.read_text()).get("log_format")
        if wanted in log_lines.FORMS:
            return str(wanted)
    return LogFormat.TEXT


def _log(level: str, form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_lines.FORMS[form]())
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agents",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vastsky {VERSION}")
    parser.add_argument("kind", choices=("head", "storage"), help="which agent of the node")
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="its configuration (TOML)"
    )
    instead = parser.add_mutually_exclusive_group()
    for act, what in INSTEAD.items():
        instead.add_argument(
            f"--{act}", dest="act", action="store_const", const=act, default=RUN, help=what
        )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    parser.add_argument(
        "--log-format",
        choices=log_lines.FORMS,
        help="of the lines on stderr; by default as the configuration says",
    )
    return parser


def _run_head(path: Path) -> None:
    config = load_config(HeadConfig, path)
    run(config, lambda parts: HeadRole(config, head_engine(config), parts))


def _run_storage(path: Path) -> None:
    read = partial(load_config, StorageConfig, path)
    config = read()
    run(config, lambda parts: StorageRole(config, storage_engine(config), parts, read))


def _install(path: Path) -> None:
    host_files.install(load_config(HeadConfig, path), ROOT)
    _check(path)


def _check(path: Path) -> None:
    lacking = list(host_files.lacks(load_config(HeadConfig, path), ROOT))
    if lacking:
        raise AgentError(errno.ENOENT, "; ".join(lacking))


def _stop_head(path: Path) -> None:
    head_engine(load_config(HeadConfig, path)).stop()


def _stop_storage(path: Path) -> None:
    storage_engine(load_config(StorageConfig, path)).stop()


ACTS: dict[tuple[str, str], Callable[[Path], None]] = {
    ("head", RUN): _run_head,
    ("storage", RUN): _run_storage,
    ("head", STOP): _stop_head,
    ("storage", STOP): _stop_storage,
    ("head", INSTALL): _install,
    ("head", CHECK): _check,
}

if __name__ == "__main__":
    main()
