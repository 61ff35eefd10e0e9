"""Which start of the machine this is: what a reboot takes away is not looked for after it."""

from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Tell which start of the machine this is."""
    return BOOT_ID.read_text(encoding="ascii").strip()
