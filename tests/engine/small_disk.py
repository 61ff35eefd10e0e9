"""A file system of a few MB that a test fills up."""

import subprocess
from pathlib import Path

PIECE = 4096


class SmallDisk:
    """A tmpfs over a folder; PermissionError where we may not mount."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast" / "ballast"
        command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            raise PermissionError(result.stderr)
        self._ballast.parent.mkdir()

    def fill(self, *, pages_left: int = 0) -> None:
        """Leave no room, or just so much."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (256 * PIECE, PIECE):
                try:
                    while True:
                        ballast.write(b"\1" * size)
                except OSError:
                    continue
            ballast.truncate(ballast.tell() - pages_left * PIECE)

    def make_room(self) -> None:
        self._ballast.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
