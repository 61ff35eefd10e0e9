"""A wall clock that a test can set, for the processes of a cluster."""

import shutil
import subprocess
from pathlib import Path

OFFSET_FILE = "CLOCK_OFFSET_FILE"


def shim(home: Path) -> dict[str, str]:
    """Make the clock; what its users need in their environment. Nothing without a compiler.

    The file that OFFSET_FILE names holds by how many seconds the clock is wrong.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        return {}
    library, source = home / "wall_clock.so", Path(__file__).with_name("wall_clock.c")
    command = [gcc, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    offset = home / "offset"
    offset.write_text("0")
    return {"LD_PRELOAD": str(library), OFFSET_FILE: str(offset)}
