"""Files of a head's machine on which its block devices depend: written, and looked at again."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from agents.engines.devices import nbd_module
from agents.engines.devices.block_device import FIRST_INDEX
from agents.engines.devices.device_identity import DEVICE_WORD, NAME_WORD
from agents.node.config import DeviceKind, HeadConfig

MODULES = Path("etc/modules-load.d/vastsky.conf")
RULES = Path("etc/udev/rules.d/59-vastsky.rules")
RELOAD = (["modprobe", "nbd"], ["udevadm", "control", "--reload"])
EVERY_DIGIT = "[0-9]" * (len(str(FIRST_INDEX)) - 1)

MODULES_TEXT = """\
# VastSky makes a block device of each volume that is attached here.
nbd
"""
RULES_TEXT = """\
# Block devices of VastSky's volumes (nbd{first} and up). What is on a volume is its user's affair:
# no file system, LVM, md array or disk of a virtual machine is looked for, and a clone is never
# found under its original's UUID. Who wants what is on a volume names it: /dev/vas/NAME.
ACTION=="remove", GOTO="vastsky_end"
SUBSYSTEM!="block", GOTO="vastsky_end"
KERNEL!="nbd[1-9]{digits}*", GOTO="vastsky_end"
OPTIONS:="nowatch"
ENV{{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}}="1"
ENV{{UDISKS_IGNORE}}="1"
{access}
# The agent makes the links. This tells systemd of them: mounts of /dev/vas/NAME wait for them.
ENV{{DEVTYPE}}=="disk", ATTR{{backend}}=="vastsky *", PROGRAM=="/bin/echo $attr{{backend}}", \\
  ENV{{SYSTEMD_ALIAS}}="{links}/%c{{{name}}} {links}/%c{{{device}}}"
LABEL="vastsky_end"
"""


def files(config: HeadConfig) -> dict[Path, str]:
    """Give the files of such a head, by their path from the root."""
    rules = RULES_TEXT.format(
        first=FIRST_INDEX,
        digits=EVERY_DIGIT,
        access=_access(config),
        links=config.links_dir,
        name=NAME_WORD,
        device=DEVICE_WORD,
    )
    return {MODULES: MODULES_TEXT, RULES: rules}


def _access(config: HeadConfig) -> str:
    """Say who may open devices: udev would else give them to whom it always does."""
    wanted = {
        "OWNER": config.device_owner,
        "GROUP": config.device_group,
        "MODE": config.device_mode,
    }
    return ", ".join(f'{key}:="{word}"' for key, word in wanted.items() if word)


def install(config: HeadConfig, root: Path) -> None:
    """Write the files under `root`; on this machine itself they are in force at once."""
    for name, content in files(config).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text(content)
        new.chmod(0o644)
        new.replace(path)
    for command in RELOAD if root == Path("/") else ():
        subprocess.run(command, check=False)


def lacks(config: HeadConfig, root: Path) -> Iterator[str]:
    """Say in a sentence each what a head's machine lacks; nothing where volumes are sockets."""
    if config.device is DeviceKind.SOCKET:
        return
    for name, content in files(config).items():
        path = root / name
        try:
            found = path.read_text()
        except OSError:
            yield f"{path} is missing"
        else:
            if found != content:
                yield f"{path} is not what this version and configuration want"
    if root == Path("/") and (why_not := nbd_module.why_unusable()):
        yield why_not
