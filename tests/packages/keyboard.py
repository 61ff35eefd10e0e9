"""Programs that ask a person something: they get a terminal, and what is typed there."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence

ECHO_SECONDS = 1.0


def typed_at(command: Sequence[str], typed: str, seconds: float) -> tuple[int, str]:
    """Run a program at a terminal of its own; its status, and what it printed.

    A line is typed whenever the program has waited a while: it throws away what came too early.
    """
    lines, told, end = typed.splitlines(keepends=True), b"", time.monotonic() + seconds
    master, slave = pty.openpty()
    with subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        while time.monotonic() < end:
            if select.select([master], [], [], ECHO_SECONDS)[0]:
                try:
                    told += os.read(master, 1 << 16)
                except OSError:
                    break  # the last one who had the terminal is gone
            elif lines and told.rstrip().endswith(b":"):
                os.write(master, lines.pop(0).encode())
        else:
            process.kill()
        status = process.wait()
    os.close(master)
    return status, told.decode(errors="replace").replace("\r\n", "\n")
