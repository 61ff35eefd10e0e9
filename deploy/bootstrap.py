"""Make this checkout's own .venv and install the pinned requirements, only when they changed.

Runs under the machine's Python, before anything is installed: standard library only.
"""

import fcntl
import hashlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST, NEWEST = (3, 11), (3, 12)


def main(requirements: Path) -> None:
    """Bring .venv to what `requirements` says, or end with one line that says why not."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"Python 3.11 or 3.12 is needed, {found} was found: make PYTHON=python3.11 ...")
    VENV.mkdir(exist_ok=True)
    with (VENV / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two starts side by side share this folder
        stamp = VENV / f".{requirements.stem}.installed"
        wanted = _digest(requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        _install(requirements)
        stamp.write_text(wanted)


def _digest(requirements: Path) -> str:
    """Fingerprint the Python, the folder (a venv cannot be moved) and all requirement files."""
    parts = [sys.version, str(VENV), requirements.read_text()]
    parts += [path.read_text() for path in sorted(ROOT.glob("requirements*.txt"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _install(requirements: Path) -> None:
    began = time.monotonic()
    print(f"Installing {requirements.name} into .venv ...", flush=True)
    _run(
        [sys.executable, "-m", "venv", str(VENV)],
        "python3 -m venv failed; on Debian: apt-get install python3-venv",
    )
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--no-input"]
    pip += ["--disable-pip-version-check", "--requirement", str(requirements)]
    _run(pip, "pip could not install the requirements; is a package registry reachable?")
    print(f"Installed in {time.monotonic() - began:.0f} s.", flush=True)


def _run(command: list[str], complaint: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}{complaint}")


if __name__ == "__main__":
    main(ROOT / sys.argv[1])
