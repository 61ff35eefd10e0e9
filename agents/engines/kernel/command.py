"""Programs of the system, run with a time limit; a failure tells command, status and words."""

import errno
import subprocess

from agents.engines.base import EngineError


def run(*words: str, seconds: float = 30.0, ok: tuple[int, ...] = (0,)) -> str:
    """Run a program that has to end with one of these statuses; what it says."""
    what = " ".join(words)
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise EngineError(errno.ENOENT, f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise EngineError(errno.ETIMEDOUT, f"{what}: no end within {seconds:g} s") from None
    if done.returncode not in ok:
        said = " ".join((done.stderr or done.stdout).split())
        raise EngineError(errno.EIO, f"{what}: status {done.returncode}: {said}")
    return done.stdout
